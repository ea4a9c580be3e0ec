"""A user of the library before a scripted service, in time that passes only in sleep."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine import Client
from tests.engine.world import Events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.engine.world import FakeClock
    from tests.faults.scripted import Asked, ScriptedService

CREATION = "POST /v1/uploads"
PATCH = "PATCH /v1/uploads/{id}"
SUBMIT = "POST /v1/upload"
STATUS = "GET /v1/status"


@dataclass
class Home:
    """One user on one machine; every `client` is another run of the program."""

    service: ScriptedService
    recording: Path
    state: Path
    clock: FakeClock
    told: Events = field(default_factory=Events)

    @asynccontextmanager
    async def client(self, *, retry_for_s: float | None = None, api_key: str = "sk-first") -> AsyncIterator[Client]:
        """One run."""
        client = Client(
            endpoint=self.service.endpoint,
            api_key=api_key,
            state_dir=self.state,
            recipe="as-is",
            retry_for_s=retry_for_s,
            clock=self.clock,
        )
        client.listen(self.told.append)
        async with client:
            yield client

    async def transcribe(self, *, retry_for_s: float | None = None, api_key: str = "sk-first") -> str:
        """The transcript of the recording, as one run brings it home."""
        async with self.client(retry_for_s=retry_for_s, api_key=api_key) as client:
            return (await client.transcribe(self.recording)).text


def from_nth(route: str, number: int, answer: bytes) -> Callable[[Asked], bytes | None]:
    """A service that answers so to everything from the `number`th such request on."""
    seen = 0

    def replying(asked: Asked) -> bytes | None:
        nonlocal seen
        seen += asked.route == route or seen >= number
        return answer if seen >= number else None

    return replying
