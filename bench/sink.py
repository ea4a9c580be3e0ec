"""A tus server that costs next to nothing: it takes uploads and throws their bytes away.

    python bench/sink.py [--certificate FILE]

Without TLS the kernel drops a body's bytes without copying them (`MSG_TRUNC`, tcp(7)). One line of JSON tells the
creation URL; then one line a request tells its method, and when its head and its body's first byte were read, on the
clock that `time.monotonic` reads in every process of a Linux machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field

HERE = "127.0.0.1"
_HEAD_BYTES = 64 << 10
_PIECE_BYTES = 4 << 20
_OPTIONS = (
    "Tus-Version: 1.0.0\r\nTus-Extension: creation,creation-defer-length,concatenation,termination\r\n"
    "Tus-Max-Size: 1099511627776\r\n"
)


@dataclass(slots=True)
class Sink:
    """The uploads that were made, by their path, and how much came of each."""

    origin: str
    offsets: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int | None] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def answer(self, method: str, path: str, headers: dict[str, str], body_bytes: int) -> str:
        """What is said to a request whose body has come."""
        match method:
            case "OPTIONS":
                return _reply(204, _OPTIONS)
            case "POST":
                made = f"/files/{next(self.numbers)}"
                _, _, members = headers.get("upload-concat", "").partition(";")
                self.offsets[made] = sum(self.offsets[f"/{url.split('/', 3)[3]}"] for url in members.split())
                deferred = "upload-defer-length" in headers
                self.lengths[made] = None if deferred else int(headers.get("upload-length", self.offsets[made]))
                return _reply(201, f"Location: {self.origin}{made}\r\n")
            case "HEAD":
                length = self.lengths[path]
                told = "Upload-Defer-Length: 1" if length is None else f"Upload-Length: {length}"
                return _reply(200, f"Upload-Offset: {self.offsets[path]}\r\n{told}\r\n")
            case "PATCH":
                self.offsets[path] = int(headers["upload-offset"]) + body_bytes
                if "upload-length" in headers:
                    self.lengths[path] = int(headers["upload-length"])
                return _reply(204, f"Upload-Offset: {self.offsets[path]}\r\n")
        return _reply(405, "")

    def serve(self, line: socket.socket) -> None:
        """Answer one connection's requests until it ends."""
        buffer = bytearray(_PIECE_BYTES)
        dropping = 0 if isinstance(line, ssl.SSLSocket) else socket.MSG_TRUNC
        rest = b""
        while (head := _head(line, rest)) is not None:
            read_s = time.monotonic()
            method, path, headers, rest = head
            left = size = int(headers.get("content-length", 0))
            taken, rest = rest[:left], rest[left:]
            left -= len(taken)
            first_s = time.monotonic() if taken else None
            while left:
                count = line.recv_into(buffer, min(left, _PIECE_BYTES), dropping)
                if not count:
                    return
                first_s = first_s or time.monotonic()
                left -= count
            line.sendall(self.answer(method, path, headers, size).encode())
            told = json.dumps({"method": method, "head_s": read_s, "body_s": first_s})
            sys.stdout.write(f"{told}\n")  # in one piece, as other threads tell too
            sys.stdout.flush()


def _reply(status: int, headers: str) -> str:
    return f"HTTP/1.1 {status} So\r\nTus-Resumable: 1.0.0\r\n{headers}Content-Length: 0\r\n\r\n"


def _head(line: socket.socket, begun: bytes) -> tuple[str, str, dict[str, str], bytes] | None:
    """The next request's method, path and headers, and what came behind its head."""
    while b"\r\n\r\n" not in begun:
        more = line.recv(_HEAD_BYTES)
        if not more:
            return None
        begun += more
    head, _, rest = begun.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in fields)
    return method, path, {name.lower(): value.strip() for name, _, value in pairs}, rest


def _until_it_ends(sink: Sink, line: socket.socket, tls: ssl.SSLContext | None) -> None:
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if tls is not None:
            line = tls.wrap_socket(line, server_side=True)
        with line:
            sink.serve(line)
    except OSError:
        line.close()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", help="PEM file with key and certificate: speak TLS")
    options = parser.parse_args()
    tls = None
    if options.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate)
    with socket.create_server((HERE, 0)) as listener:
        origin = f"{'https' if tls else 'http'}://{HERE}:{listener.getsockname()[1]}"
        sink = Sink(origin)
        print(json.dumps({"endpoint": f"{origin}/files"}), flush=True)
        while True:
            line, _ = listener.accept()
            threading.Thread(target=_until_it_ends, args=(sink, line, tls), daemon=True).start()


if __name__ == "__main__":
    main()
