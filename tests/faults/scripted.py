"""A small service that follows a script: at a chosen request, at a chosen moment of it, it strikes.

It speaks just what a client needs (tus 1.0.0 with creation, the submission by reference, the documented multipart
upload, the status call), shares no code with the program's own service, and makes a second job of a second multipart
upload, as a service may that knows no idempotency keys.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import secrets
import socket
import struct
import threading
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

import xxhash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from io import BufferedReader

TEXT = "what was said"
_RECEIVE_BUFFER_BYTES = 64 << 10  # small, so that a body stopped half way is still mostly with its sender
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST (socket(7))
_REASONS = {200: "OK", 201: "Created", 204: "No Content"}


class Moment(StrEnum):
    """When, in the life of one request, the connection ends."""

    BEFORE = "before it is read"
    MID_BODY = "in its body"
    LOST = "instead of the answer"
    TRUNCATED = "in the answer"


@dataclass(frozen=True, slots=True)
class Strike:
    """Which request suffers (1 is the first of all), when, and how many in a row."""

    request: int
    moment: Moment
    blows: int = 1

    def hits(self, ordinal: int) -> bool:
        """Whether this request is one of them."""
        return self.request <= ordinal < self.request + self.blows


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came; names of headers are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def route(self) -> str:
        """Method and path without what differs from run to run."""
        path = re.sub(r"^/v1/uploads/.+", "/v1/uploads/{id}", self.path.partition("?")[0])
        return f"{self.method} {path}"


@dataclass(slots=True)
class Stored:
    """An upload."""

    length_bytes: int
    content: bytearray = field(default_factory=bytearray)
    job: str | None = None


class ScriptedService:
    """Serves on a loopback port while its `with` block runs.

    Attributes:
        requests: the route of every request whose head was read, in order.
        jobs: what every job received, by processing_id.
        uploads: all uploads by id; an id is a capability that must never show up in a log.
        on_strike: called when the script strikes, before the connection ends.
        replying: asked first for the answer to every whole request; None leaves it to the service.
    """

    def __init__(self, strike: Strike | None = None, statuses: Iterable[tuple[int, int]] = (), polls: int = 0) -> None:
        self.requests: list[str] = []
        self.jobs: dict[str, bytes] = {}
        self.uploads: dict[str, Stored] = {}
        self.on_strike: Callable[[], None] = lambda: None
        self.replying: Callable[[Asked], bytes | None] = lambda _: None
        self._strike = strike
        self._statuses = dict(statuses)
        self._polls_left = polls
        self._ordinals = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, line: socket.socket) -> None:
        with line, line.makefile("rb") as reader, contextlib.suppress(ConnectionError):
            while line.recv(1, socket.MSG_PEEK):
                if not self._exchange(line, reader):
                    return

    def _exchange(self, line: socket.socket, reader: BufferedReader) -> bool:
        """One request and its answer; False when the connection ends with it."""
        ordinal = next(self._ordinals)
        moment = self._strike.moment if self._strike and self._strike.hits(ordinal) else None
        if moment is Moment.BEFORE:
            return self._break(line)
        asked = _read_head(reader)
        self.requests.append(asked.route)
        announced = int(asked.headers.get("content-length", "0"))
        body = reader.read(announced // 2 if moment is Moment.MID_BODY else announced)
        asked = replace(asked, body=body)
        if moment is Moment.MID_BODY or len(body) < announced:
            self._keep(asked)
            return self._break(line)
        answer = self._answer(ordinal, asked)
        if moment is Moment.LOST:
            return self._break(line)
        if moment is Moment.TRUNCATED:
            line.sendall(answer[:-1])
            self.on_strike()
            return False
        line.sendall(answer)
        return True

    def _break(self, line: socket.socket) -> bool:
        self.on_strike()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        return False

    def _keep(self, asked: Asked) -> None:
        """Of a body that was cut short, tus keeps what came; the multipart upload keeps nothing."""
        if asked.method == "PATCH":
            self._append(asked)

    def _answer(self, ordinal: int, asked: Asked) -> bytes:
        reply_of_the_test = self.replying(asked)
        if reply_of_the_test is not None:
            return reply_of_the_test
        if ordinal in self._statuses:
            return reply(self._statuses[ordinal])
        answering = {
            "OPTIONS /v1/uploads": self._offer,
            "POST /v1/uploads": self._create,
            "HEAD /v1/uploads/{id}": self._stand,
            "PATCH /v1/uploads/{id}": self._append,
            "POST /v1/upload": self._submit if asked.headers.get("content-type") == "application/json" else self._take,
            "GET /v1/status": self._report,
        }.get(asked.route)
        return reply(404) if answering is None else answering(asked)

    def _offer(self, _: Asked) -> bytes:
        return reply(204, {"Tus-Version": "1.0.0", "Tus-Extension": "creation,termination"})

    def _create(self, asked: Asked) -> bytes:
        upload_id = secrets.token_urlsafe(24)
        self.uploads[upload_id] = Stored(int(asked.headers["upload-length"]))
        return reply(201, {"Location": f"/v1/uploads/{upload_id}"})

    def _stand(self, asked: Asked, status: int = 200) -> bytes:
        upload = self.uploads.get(asked.path.rpartition("/")[2])
        if upload is None:
            return reply(404)
        stands = {"Upload-Offset": str(len(upload.content)), "Upload-Length": str(upload.length_bytes)}
        return reply(status, stands)

    def _append(self, asked: Asked) -> bytes:
        upload = self.uploads.get(asked.path.rpartition("/")[2])
        if upload is None:
            return reply(404)
        if int(asked.headers["upload-offset"]) != len(upload.content):
            return reply(409)
        upload.content += asked.body
        return self._stand(asked, 204)

    def _submit(self, asked: Asked) -> bytes:
        document = json.loads(asked.body)
        upload = self.uploads.get(document["upload"].rpartition("/")[2])
        if upload is None:
            return reply(404)
        if len(upload.content) != upload.length_bytes:
            return reply(409, {"Upload-Offset": str(len(upload.content))})
        part_size: int = document["part_size"]
        cuts = range(0, upload.length_bytes, part_size)
        parts = [xxhash.xxh3_128_hexdigest(bytes(upload.content[cut : cut + part_size])) for cut in cuts]
        if document["parts"] != parts:
            return reply(422, content={"message": "digest_mismatch", "bad_parts": list(range(len(parts)))})
        if upload.job is None:
            upload.job = self._add_job(bytes(upload.content))
        return reply(200, content={"processing_id": upload.job})

    def _take(self, asked: Asked) -> bytes:
        boundary = asked.headers["content-type"].partition("boundary=")[2].encode()
        _, _, rest = asked.body.partition(b"\r\n\r\n")
        content, _, _ = rest.rpartition(b"\r\n--" + boundary + b"--")
        return reply(200, content={"processing_id": self._add_job(content)})

    def _add_job(self, content: bytes) -> str:
        processing_id = f"job-{len(self.jobs) + 1}"
        self.jobs[processing_id] = content
        return processing_id

    def _report(self, asked: Asked) -> bytes:
        if asked.path.partition("processing_id=")[2] not in self.jobs:
            return reply(404)
        self._polls_left -= 1
        if self._polls_left >= 0:
            return reply(200, content={"status": "processing"})
        return reply(200, content={"status": "completed", "transcription": TEXT})


def _read_head(reader: BufferedReader) -> Asked:
    method, path, _ = reader.readline().decode("latin-1").split(" ", 2)
    lines = iter(lambda: reader.readline().decode("latin-1").strip(), "")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method, path, headers)


def reply(
    status: int, headers: Mapping[str, str] | None = None, content: Mapping[str, object] | str | None = None
) -> bytes:
    """A whole response; text goes as a page for people, anything else as JSON."""
    body = b"" if content is None else (content if isinstance(content, str) else json.dumps(content)).encode()
    told = {"Tus-Resumable": "1.0.0", **(headers or {})}
    if status != 204:  # it has no body, and no length of one (RFC 9110 section 8.6)
        told["Content-Length"] = str(len(body))
    if content is not None:
        told["Content-Type"] = "text/html" if isinstance(content, str) else "application/json"
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Refused')}", *(f"{name}: {told[name]}" for name in told)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
