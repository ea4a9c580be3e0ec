"""The least that httpx can do: one upload in one PATCH by its synchronous client, from a thread, in pieces of 1 MiB.

python bench/bare_httpx.py UPLOAD_URL FILE
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE_BYTES = 1 << 20


def _pieces(file: int) -> Iterator[bytes]:
    offset = 0
    while piece := os.pread(file, _PIECE_BYTES, offset):
        yield piece
        offset += len(piece)


def _send(url: str, path: str) -> None:
    file = os.open(path, os.O_RDONLY)
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(os.fstat(file).st_size),
        "Authorization": os.environ.get("BENCH_AUTHORIZATION", "none"),
    }
    httpx.patch(
        url, headers=headers, content=_pieces(file), timeout=None, verify=ssl.create_default_context()
    ).raise_for_status()


if __name__ == "__main__":
    failure: list[BaseException] = []

    def work() -> None:
        """Send, and remember why not."""
        try:
            _send(*sys.argv[1:])
        except BaseException as error:
            failure.append(error)
            raise

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    sys.exit(bool(failure))
