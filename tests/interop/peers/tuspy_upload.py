"""An upload by tuspy. It imports no code of ours: another Python runs it, where tuspy is installed.

    python tuspy_upload.py URL FILE KEY [--chunk BYTES] [--sha1] [--filename NAME] [--url-storage FILE]

Without `--filename` it sends no metadata, which tuspy says as an empty header. With `--url-storage`
an earlier, unfinished upload of the same file goes on where it was. One line of JSON tells the
upload's URL in the end.
"""

import argparse
import json

# tuspy is installed where this script runs, never where it is type-checked.
from tusclient.client import TusClient  # type: ignore[import-not-found]
from tusclient.storage.filestorage import FileStorage  # type: ignore[import-not-found]

RETRIES = 15
RETRY_DELAY_S = 1


def main() -> None:
    """Upload one file and tell its URL."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("file")
    parser.add_argument("key")
    parser.add_argument("--chunk", type=int, default=1 << 20)
    parser.add_argument("--sha1", action="store_true")
    parser.add_argument("--filename")
    parser.add_argument("--url-storage")
    given = parser.parse_args()
    client = TusClient(given.url, headers={"Authorization": f"Bearer {given.key}"})
    uploader = client.uploader(
        given.file,
        chunk_size=given.chunk,
        upload_checksum=given.sha1,
        metadata={"filename": given.filename} if given.filename else None,
        retries=RETRIES,
        retry_delay=RETRY_DELAY_S,
        store_url=given.url_storage is not None,
        url_storage=FileStorage(given.url_storage) if given.url_storage else None,
    )
    uploader.upload()
    print(json.dumps({"upload": uploader.url}))  # noqa: T201 - what it has to say


if __name__ == "__main__":
    main()
