"""The world as the runtime meets it, made up: time that passes only in sleep, and a far side that follows a script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import anyio.lowlevel
import httpx

from engine.model import JobKind, JobRecord, JobState, SourceIdentity

if TYPE_CHECKING:
    from engine.events import Event

Act: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]

TICK_S = 1e-6  # a real sleep ends late as well; without it a rounding error could be slept for ever
JOB = JobRecord(
    id="k3f9qz",
    kind=JobKind.TRANSCRIPTION,
    state=JobState.NEW,
    source="/recordings/interview.mp4",
    identity=SourceIdentity(device=1, inode=2, size_bytes=3, mtime_ns=4, fingerprint="f1"),
    wish="auto",
    endpoint="https://speech.example/v1",
    idempotency_key="6f1d0a2e",
    created_at=1000.0,
    updated_at=1000.0,
)


class FakeClock:
    """A clock that stands still unless somebody sleeps. Chance is always the middle."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        self.slept_s: list[float] = []

    def wall(self) -> float:
        """The one time there is."""
        return self.now_s

    def monotonic(self) -> float:
        """The same."""
        return self.now_s

    def chance(self) -> float:
        """No luck and no misfortune."""
        return 0.5

    async def sleep(self, seconds: float) -> None:
        """Time passes at once."""
        self.slept_s.append(seconds)
        self.now_s += seconds + TICK_S
        await anyio.lowlevel.checkpoint()


class Script(httpx.AsyncBaseTransport):
    """A far side that answers each request with the next act, and keeps what it was asked."""

    def __init__(self, *acts: Act) -> None:
        self._acts = list(acts)
        self.seen: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Perform the next act."""
        self.seen.append(request)
        assert self._acts, f"nobody expected {request.method} {request.url}"
        return await self._acts.pop(0)(request)

    @property
    def over(self) -> bool:
        """Whether every act was called for."""
        return not self._acts


def answers(status: int, body: bytes = b"", **headers: str) -> Act:
    """Take the whole request and answer; header names are written with underscores."""

    async def act(request: httpx.Request) -> httpx.Response:
        await request.aread()
        plain = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Response(status, headers=plain, stream=httpx.ByteStream(body))

    return act


def breaks(error: Exception, *, after_bytes: int | None = None) -> Act:
    """Take `after_bytes` of the request (None: all of it), then break."""

    async def act(request: httpx.Request) -> httpx.Response:
        taken = 0
        assert isinstance(request.stream, httpx.AsyncByteStream)
        pieces = request.stream.__aiter__()
        while after_bytes is None or taken < after_bytes:
            try:
                taken += len(await pieces.__anext__())
            except StopAsyncIteration:
                break
        raise error

    return act


class Events(list["Event"]):
    """Everything that was told, in order."""

    def of(self, *kinds: type[Event]) -> list[Event]:
        """Only these kinds."""
        return [event for event in self if isinstance(event, kinds)]
