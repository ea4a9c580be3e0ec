"""A user's machine, and a service on loopback that follows a script, in time that passes only in sleep."""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from engine import Client
from engine.errors import KeyRejected
from engine.events import Warned
from engine.runtime.manifest import Manifest
from tests.engine.world import Events, FakeClock
from tests.faults.scripted import Asked, ScriptedService, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from engine.model import JobRecord

CONTENT = random.Random(2).randbytes(200_000)


@dataclass
class House:
    """A user's machine and the service it talks to; every `client` is another run of the program."""

    service: ScriptedService
    recording: Path
    state: Path
    clock: FakeClock
    told: Events = field(default_factory=Events)

    @asynccontextmanager
    async def client(
        self,
        *,
        recipe: str = "as-is",
        track: str | None = None,
        api_key: str | None = "sk-key-of-the-house",
        checksum: bool = False,
        limit_bytes_s: int | None = None,
    ) -> AsyncIterator[Client]:
        """One run."""
        client = Client(
            endpoint=self.service.endpoint,
            api_key=api_key,
            state_dir=self.state,
            recipe=recipe,
            track=track,
            checksum=checksum,
            limit_bytes_s=limit_bytes_s,
            clock=self.clock,
        )
        client.listen(self.told.append)
        async with client:
            yield client

    async def transcribe(self, *, recipe: str = "as-is") -> str:
        """One run of the command that everybody types."""
        async with self.client(recipe=recipe) as client:
            return (await client.transcribe(self.recording)).text

    async def stopped_by_401(self, route: str, *, recipe: str = "as-is") -> JobRecord:
        """One run that the service ends at the first such request, and no other after it; the job it leaves."""
        self.service.replying = refusing(route)
        with pytest.raises(KeyRejected):
            await self.transcribe(recipe=recipe)
        self.service.replying = lambda _: None
        self.service.requests.clear()
        return self.job()

    def job(self) -> JobRecord:
        """The one job there is."""
        with Manifest(self.state) as manifest:
            (job,) = manifest.jobs()
            return job

    def warnings(self) -> list[str]:
        """What the user was warned of."""
        return [event.message for event in self.told.of(Warned) if isinstance(event, Warned)]

    def replace_recording(self) -> None:
        """Other bytes of the same size, with the time of the old ones, as a copy that keeps times leaves them."""
        before = self.recording.stat()
        self.recording.write_bytes(bytes(reversed(self.recording.read_bytes())))
        os.utime(self.recording, ns=(before.st_atime_ns, before.st_mtime_ns))


def refusing(route: str, status: int = 401) -> Callable[[Asked], bytes | None]:
    """A service that answers one of its calls so, every time."""
    return lambda asked: reply(status) if asked.route == route else None


PATCH = "PATCH /v1/uploads/{id}"
SUBMIT = "POST /v1/upload"
