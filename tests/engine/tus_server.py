"""A tus server in memory that joins lanes, as an httpx transport; it does to requests what a test tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio.lowlevel
import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

JOINING = "creation,concatenation,creation-defer-length,termination"
JOINING_AHEAD = f"{JOINING},concatenation-unfinished"


class Killed(BaseException):
    """The program was killed here; only the far side's bytes and the manifest outlive it."""


@dataclass
class Upload:
    """One resource."""

    length: int | None
    partial: bool
    content: bytearray = field(default_factory=bytearray)
    metadata: str = ""
    lanes: list[Upload] = field(default_factory=list)

    def finish(self) -> None:
        """Put a final upload together, once all its lanes are complete."""
        if self.length is None and self.lanes and all(lane.complete for lane in self.lanes):
            self.content = bytearray().join(lane.content for lane in self.lanes)
            self.length = len(self.content)

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return self.length == len(self.content)


@dataclass
class TusServer(httpx.AsyncBaseTransport):
    """What the far side holds, and how it behaves.

    Attributes:
        keys: whether creations and joins are repeatable by Idempotency-Key.
        forgets: whether partial uploads are gone once they are joined.
        strike: told the number and kind of each request; may raise, or name a blow: "cut", "unanswered", a status.
        cut_bytes: how much of an append a "cut" lets through.
        busiest: the most requests with bytes that were ever under way at once.
    """

    extensions: str = JOINING
    keys: bool = True
    forgets: bool = False
    strike: Callable[[int, str], str | None] = lambda _, __: None
    cut_bytes: int = 300_000
    uploads: dict[str, Upload] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    received_bytes: int = 0
    busiest: int = 0
    _by_key: dict[str, str] = field(default_factory=dict)
    _busy: int = 0
    _count: int = 0

    @property
    def finals(self) -> list[bytes]:
        """What uploads that are no lanes hold."""
        return [bytes(upload.content) for upload in self.uploads.values() if not upload.partial]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve one request, unless it is struck."""
        kind = request.method
        if kind == "POST":
            concat = request.headers.get("upload-concat", "")
            kind = "JOIN" if concat.startswith("final") else "POST"
        number = len(self.seen)
        self.seen.append(kind)
        blow = self.strike(number, kind)
        await anyio.lowlevel.checkpoint()
        if blow is not None and blow.isdigit():
            return _answer(int(blow))
        if blow == "cut":
            await self._serve(kind, request, at_most=self.cut_bytes)
            raise httpx.ReadError("reset")
        reply = await self._serve(kind, request)
        if blow == "unanswered":
            raise httpx.RemoteProtocolError("closed without an answer")
        if blow == "killed":
            raise Killed
        return reply

    async def _serve(self, kind: str, request: httpx.Request, at_most: int = 1 << 40) -> httpx.Response:
        match kind:
            case "OPTIONS":
                return _answer(204, Tus_Version="1.0.0", Tus_Extension=self.extensions)
            case "POST":
                return self._create(request)
            case "JOIN":
                return self._join(request)
            case "PATCH":
                return await self._append(request, at_most)
        return self._tell(self.uploads.get(request.url.path))

    def _tell(self, upload: Upload | None) -> httpx.Response:
        if upload is None:
            return _answer(404)
        upload.finish()
        if upload.lanes and not upload.complete:
            return _answer(200, Upload_Concat="final;")
        return _standing(200, upload)

    def _create(self, request: httpx.Request) -> httpx.Response:
        length = request.headers.get("upload-length")
        partial = request.headers.get("upload-concat") == "partial" and "concatenation" in self.extensions
        return self._made(request, Upload(None if length is None else int(length), partial))

    def _join(self, request: httpx.Request) -> httpx.Response:
        key = request.headers.get("idempotency-key", "")
        if self.keys and key in self._by_key:
            return _answer(201, Location=self._by_key[key])
        names = [httpx.URL(url).path for url in request.headers["upload-concat"].removeprefix("final;").split()]
        lanes = [self.uploads.get(name) for name in names]
        ahead = "concatenation-unfinished" in self.extensions
        whole = [lane for lane in lanes if lane is not None and lane.partial and (lane.complete or ahead)]
        if len(whole) < len(lanes):
            return _answer(404 if None in lanes else 400)
        if ahead:
            made = Upload(None, partial=False, lanes=whole)
            made.finish()
            return self._made(request, made)
        content = bytearray().join(lane.content for lane in whole)
        if self.forgets:
            for name in names:
                del self.uploads[name]
        return self._made(request, Upload(len(content), partial=False, content=content))

    def _made(self, request: httpx.Request, upload: Upload) -> httpx.Response:
        key = request.headers.get("idempotency-key")
        if self.keys and key in self._by_key:
            return _answer(201, Location=self._by_key[key])
        self._count += 1
        name = f"/v1/uploads/{self._count}"
        self.uploads[name] = upload
        if key is not None:
            self._by_key[key] = name
        return _answer(201, Location=name)

    async def _append(self, request: httpx.Request, at_most: int) -> httpx.Response:
        upload = self.uploads.get(request.url.path)
        if upload is None:
            return _answer(404)
        if int(request.headers["upload-offset"]) != len(upload.content):
            return _answer(409)
        if "upload-length" in request.headers:
            upload.length = int(request.headers["upload-length"])
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        try:
            async for piece in request.stream:
                taken = piece[:at_most]
                at_most -= len(taken)
                upload.content += taken
                self.received_bytes += len(taken)
                if not at_most:
                    break
        finally:
            self._busy -= 1
        return _standing(204, upload)


def at(number: int, blow: str) -> Callable[[int, str], str | None]:
    """Strike one request, by its number."""
    return lambda seen, _: blow if seen == number else None


def first(kind: str, blow: str, times: int = 1) -> Callable[[int, str], str | None]:
    """Strike the first requests of a kind."""
    struck = iter(range(times))
    return lambda _, seen: blow if seen == kind and next(struck, None) is not None else None


def _standing(status: int, upload: Upload) -> httpx.Response:
    length = {"Upload_Defer_Length": "1"} if upload.length is None else {"Upload_Length": str(upload.length)}
    return _answer(status, Upload_Offset=str(len(upload.content)), **length)


def _answer(status: int, **headers: str) -> httpx.Response:
    plain = {re.sub("_", "-", name): value for name, value in headers.items()}
    return httpx.Response(status, headers=plain, stream=httpx.ByteStream(b""))
