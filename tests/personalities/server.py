"""A small tus 1.0.0 server with good manners, to be overridden one by one by those that mimic somebody else's.

It shares no code with the program or its service. Every connection has a thread; what arrives of a body is kept as it
comes, so a connection that breaks leaves what had arrived.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from io import BufferedIOBase

PIECE_BYTES = 64 << 10
CHUNK_TYPE = "application/offset+octet-stream"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a personality answers. `hang_up` ends the connection behind it; `status` 0 answers nothing at all."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang_up: bool = False


@dataclass(slots=True)
class Asked:
    """A request as it came; names of headers are lower case.

    The body is read by who wants it; `interrupt` ends it for them, wherever it is, as a read deadline does.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    reader: BufferedIOBase
    interrupt: Callable[[], None] = lambda: None

    @property
    def length_bytes(self) -> int:
        """What the body's length is said to be."""
        return int(self.headers.get("content-length", "0"))

    def drain(self) -> None:
        """Read the body and forget it."""
        self.keep(bytearray(), self.length_bytes)

    def keep(self, content: bytearray, most_bytes: int) -> int:
        """Append at most so much of the body to `content`, piece by piece; gives how much came."""
        kept = 0
        while kept < most_bytes and (piece := self.reader.read1(min(PIECE_BYTES, most_bytes - kept))):
            content += piece
            kept += len(piece)
        return kept


@dataclass(slots=True)
class Upload:
    """One upload; `lock` is held by who appends."""

    length_bytes: int
    metadata: str
    content: bytearray = field(default_factory=bytearray)
    partial: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Personality:
    """A tus server that does everything right. A subclass does one thing otherwise, and its docstring says which.

    Attributes:
        mimics: whose ways these are, for people.
        options: what our command must be given to get along.
        tls: whether it is reached by https.
    """

    mimics: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()
    tls: ClassVar[bool] = False
    extensions: ClassVar[str] = "creation,termination"
    announced_bytes: ClassVar[int] = 13_000_001  # more than two of the largest appends that anyone insists on

    def __init__(self) -> None:
        self.uploads: dict[str, Upload] = {}
        self.asked: list[Asked] = []
        self.seen: Counter[str] = Counter()
        self.origin = ""
        self.elsewhere = ""
        self._ids = itertools.count(1)

    def answer(self, asked: Asked) -> Reply:
        """The reply to one request."""
        self.asked.append(asked)
        self.seen[asked.method] += 1
        if asked.method == "OPTIONS":
            return self.offer()
        act: Callable[[Asked], Reply] | None = {
            "POST": self.create,
            "HEAD": self.stand,
            "PATCH": self.append,
            "DELETE": self.terminate,
        }.get(asked.method)
        return Reply(405) if act is None else act(asked)

    def offer(self) -> Reply:
        """OPTIONS."""
        return Reply(204, {"Tus-Version": "1.0.0", "Tus-Extension": self.extensions})

    def create(self, asked: Asked) -> Reply:
        """POST."""
        asked.drain()
        metadata, kind = asked.headers.get("upload-metadata", ""), asked.headers.get("upload-concat", "")
        if kind.startswith("final;") and "concatenation" in self.extensions:
            return self.join(kind.removeprefix("final;").split(), metadata)
        partial = kind == "partial" and "concatenation" in self.extensions
        return self.made(Upload(int(asked.headers["upload-length"]), metadata, partial=partial))

    def join(self, urls: list[str], metadata: str) -> Reply:
        """POST of a final upload."""
        content = b"".join(bytes(self.uploads[url.rpartition("/")[2]].content) for url in urls)
        return self.made(Upload(len(content), metadata, bytearray(content)))

    def made(self, upload: Upload) -> Reply:
        """Keep an upload and say where it is."""
        upload_id = f"u{next(self._ids)}"
        self.uploads[upload_id] = upload
        return Reply(201, {"Location": self.location(upload_id)})

    def location(self, upload_id: str) -> str:
        """What a creation answers."""
        return f"/files/{upload_id}"

    def upload_of(self, asked: Asked) -> Upload | None:
        """The upload that a request is about."""
        return self.uploads.get(urlsplit(asked.path).path.rpartition("/")[2])

    def stand(self, asked: Asked) -> Reply:
        """HEAD."""
        upload = self.upload_of(asked)
        if upload is None:
            return Reply(404)
        told = {"Upload-Offset": str(len(upload.content)), "Upload-Length": str(upload.length_bytes)}
        return Reply(200, {**told, "Cache-Control": "no-store"})

    def append(self, asked: Asked) -> Reply:
        """PATCH."""
        upload = self.upload_of(asked)
        refusal = self.refuse(asked, upload)
        if refusal is not None or upload is None:
            asked.drain()
            return refusal or Reply(404)
        with upload.lock:
            return self.take(asked, upload)

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """What is wrong with an append, before a byte of it is taken."""
        if upload is None:
            return Reply(404)
        if asked.headers.get("content-type") != CHUNK_TYPE:
            return Reply(415)
        if int(asked.headers["upload-offset"]) != len(upload.content):
            return Reply(409)
        if len(upload.content) + asked.length_bytes > upload.length_bytes:
            return Reply(413)
        return None

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """Keep the bytes of an append that may come."""
        asked.keep(upload.content, asked.length_bytes)
        return Reply(204, {"Upload-Offset": str(len(upload.content))})

    def terminate(self, asked: Asked) -> Reply:
        """DELETE."""
        return Reply(204 if self.uploads.pop(urlsplit(asked.path).path.rpartition("/")[2], None) else 404)

    def dressed(self, reply: Reply) -> dict[str, str]:
        """The headers that go out."""
        return {"Tus-Resumable": "1.0.0", **reply.headers}


class PersonalServer:
    """Serves a personality on a loopback port while its `with` block runs; by TLS where there is a context."""

    def __init__(self, personality: Personality, tls: ssl.SSLContext | None = None) -> None:
        self.personality = personality
        self._server = _Server(("127.0.0.1", 0), _Exchange)
        self._server.personality = personality
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        personality.origin = self.origin

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    @property
    def creation_url(self) -> str:
        """Where uploads are created."""
        return f"{self.origin}/files"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    personality: Personality

    def handle_error(self, *_: object) -> None:
        """A client that breaks its connection off is what this is for."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply leaves in one piece
    timeout = 30.0

    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = server.personality.answer(Asked(self.command, self.path, headers, self.rfile, self._interrupt))
        self.close_connection = self.close_connection or reply.hang_up
        if reply.status == 0:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in server.personality.dressed(reply).items():
            self.send_header(name, value)
        if reply.status != 204:  # it has no body, and no length of one (RFC 9110 section 8.6)
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _interrupt(self) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            self.connection.shutdown(socket.SHUT_RD)

    do_OPTIONS = do_POST = do_HEAD = do_PATCH = do_DELETE = do_GET = _answer  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""
