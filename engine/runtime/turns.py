"""Waits for a turn where the service documents a limit, across all processes that share the manifest."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct, field

from ..core.pacing import STATUS_PER_ID, UPLOADS_PER_KEY
from ..events import Waiting
from ..faults import Offline, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from ..core.pacing import RateLimit
    from ..events import Event
    from .clock import Clock
    from .manifest import Manifest


class Turns(Struct, frozen=True):
    """Turns for one API key at one service.

    `line` is where the jobs of this process wait for a turn to upload: whoever has waited longest goes first.
    """

    manifest: Manifest
    clock: Clock
    emit: Callable[[Event], None]
    account: str
    line: anyio.Lock = field(default_factory=anyio.Lock)

    @asynccontextmanager
    async def upload(self, job_id: str) -> AsyncIterator[None]:
        """A turn for `POST /v1/upload` in either form."""
        reason = "the service takes 5 uploads a minute; waiting for a turn"
        if self.line.locked():
            self.emit(Waiting(job_id, reason, None))
        async with self._held(f"upload {self.account}", UPLOADS_PER_KEY, job_id, reason, self.line):
            yield

    @asynccontextmanager
    async def status(self, job_id: str, processing_id: str) -> AsyncIterator[None]:
        """A turn for `GET /v1/status` of one id."""
        async with self._held(f"status {processing_id}", STATUS_PER_ID, job_id, None, nullcontext()):
            yield

    @asynccontextmanager
    async def _held(
        self, scope: str, limit: RateLimit, job_id: str, reason: str | None, line: AbstractAsyncContextManager[None]
    ) -> AsyncIterator[None]:
        """Hold a slot around one call; it counts from the reply, and not at all if nothing reached the server."""
        async with line:
            slot = await self._slot(scope, limit, job_id, reason)
        try:
            yield
        except (Offline, Unreachable):
            self.manifest.slots.release(slot)
            raise
        except Exception:
            self.manifest.slots.settle(slot, self.clock.wall())
            raise
        self.manifest.slots.settle(slot, self.clock.wall())

    async def _slot(self, scope: str, limit: RateLimit, job_id: str, reason: str | None) -> int:
        while True:
            slot, wait_s = self.manifest.slots.reserve(scope, limit, self.clock.wall())
            if slot is not None:
                return slot
            if reason is not None:
                self.emit(Waiting(job_id, reason, wait_s))
            await self.clock.sleep(wait_s)


def account_of(endpoint: str, api_key: str) -> str:
    """A short name for a key at a service, from which the key cannot be had back."""
    return hashlib.blake2b(f"{endpoint}\n{api_key}".encode(), digest_size=8, person=b"speechstream").hexdigest()
