"""An upload by aiotus. It imports no code of ours: another Python runs it, where aiotus is installed.

    python aiotus_upload.py URL FILE KEY [--chunk BYTES] [--parts COUNT]

With `--parts` the file goes up in so many partial uploads at once, which are concatenated. One line of
JSON tells the upload's URL in the end.
"""

import argparse
import asyncio
import io
import json
import sys
from pathlib import Path
from urllib.parse import urljoin

# aiotus is installed where this script runs, never where it is type-checked.
import aiotus  # type: ignore[import-not-found]

RETRIES = 30
RETRY_DELAY_MAX_S = 1.0


async def upload(given: argparse.Namespace, content: bytes) -> str | None:
    """Upload one file; None when aiotus gave up."""
    headers = {"Authorization": f"Bearer {given.key}"}
    config = aiotus.RetryConfiguration(retry_attempts=RETRIES, max_retry_period_seconds=RETRY_DELAY_MAX_S)
    metadata = {"filename": b"recording.bin"}
    if given.parts == 1:
        url = await aiotus.upload(
            given.url, io.BytesIO(content), metadata, config=config, headers=headers, chunksize=given.chunk
        )
    else:
        size = -(-len(content) // given.parts)
        parts = [io.BytesIO(content[start : start + size]) for start in range(0, len(content), size)]
        url = await aiotus.upload_multiple(
            given.url, parts, metadata, config=config, headers=headers, chunksize=given.chunk
        )
    return None if url is None else urljoin(given.url, str(url))


def main() -> None:
    """Upload one file and tell its URL."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("file")
    parser.add_argument("key")
    parser.add_argument("--chunk", type=int, default=1 << 20)
    parser.add_argument("--parts", type=int, default=1)
    given = parser.parse_args()
    url = asyncio.run(upload(given, Path(given.file).read_bytes()))
    if url is None:
        sys.exit(1)
    print(json.dumps({"upload": url}))  # noqa: T201 - what it has to say


if __name__ == "__main__":
    main()
