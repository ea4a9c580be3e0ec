"""Waits for a turn where the service documents a limit, across all processes that share the manifest."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.pacing import STATUS_PER_ID, UPLOADS_PER_KEY
from ..events import Waiting
from ..faults import Offline, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ..core.pacing import RateLimit
    from ..events import Event
    from .clock import Clock
    from .manifest import Manifest


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns for one API key at one service."""

    manifest: Manifest
    clock: Clock
    emit: Callable[[Event], None]
    account: str

    @asynccontextmanager
    async def upload(self, job_id: str) -> AsyncIterator[None]:
        """A turn for `POST /v1/upload` in either form."""
        reason = "the service takes 5 uploads a minute; waiting for a turn"
        async with self._turn(f"upload {self.account}", UPLOADS_PER_KEY, job_id, reason):
            yield

    @asynccontextmanager
    async def status(self, job_id: str, processing_id: str) -> AsyncIterator[None]:
        """A turn for `GET /v1/status` of one id."""
        async with self._turn(f"status {processing_id}", STATUS_PER_ID, job_id, None):
            yield

    @asynccontextmanager
    async def _turn(self, scope: str, limit: RateLimit, job_id: str, reason: str | None) -> AsyncIterator[None]:
        """Hold a slot around one call; it counts from the reply, and not at all if nothing reached the server."""
        slot, wait_s = self.manifest.reserve(scope, limit, self.clock.wall())
        while slot is None:
            if reason is not None:
                self.emit(Waiting(job_id, reason, wait_s))
            await self.clock.sleep(wait_s)
            slot, wait_s = self.manifest.reserve(scope, limit, self.clock.wall())
        try:
            yield
        except (Offline, Unreachable):
            self.manifest.release(slot)
            raise
        except Exception:
            self.manifest.settle(slot, self.clock.wall())
            raise
        self.manifest.settle(slot, self.clock.wall())


def account_of(endpoint: str, api_key: str) -> str:
    """A short name for a key at a service, from which the key cannot be had back."""
    return hashlib.blake2b(f"{endpoint}\n{api_key}".encode(), digest_size=8, person=b"speechstream").hexdigest()
