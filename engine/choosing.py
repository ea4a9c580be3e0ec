"""Chooses how an artifact travels: what was asked for, what the upload began with, or what the server offers."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from msgspec import Struct

from .core.control import MAX_LANES
from .core.lane import key_rejected
from .errors import UploadRefused
from .events import Warned
from .faults import Unauthorized
from .model import Capabilities, JobKind, WireName
from .wire import tus
from .wire.address import is_given, with_path
from .wire.interface import SingleWire, TusWire

if TYPE_CHECKING:
    from .model import ArtifactRecord, JobRecord
    from .redaction import Secret
    from .runtime.exchange import Exchanger
    from .runtime.manifest import Manifest
    from .runtime.persist import Persistence
    from .wire.interface import Wire


log = logging.getLogger("speechstream.wire")


class Manner(Struct, frozen=True):
    """How the caller wants it to travel: by which wire, with checksums, over how many lanes at most.

    `request_bytes` is the size of every append but the last, `metadata` what the server is told of the upload beside
    what it is always told, `upload_url` an upload that was made for it by somebody else.
    """

    wire: str = "auto"
    checksum: bool = False
    max_lanes: int = MAX_LANES
    request_bytes: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    upload_url: Secret | None = None


class WireChoice(Struct, frozen=True):
    """Everything the choice for one upload depends on."""

    job: JobRecord
    artifact: ArtifactRecord
    base_url: str
    begun: bool
    manner: Manner
    manifest: Manifest
    exchanger: Exchanger
    persistence: Persistence

    @property
    def creation_url(self) -> str:
        """Where uploads are made."""
        return self.base_url if self.job.kind is JobKind.DELIVERY else with_path(self.base_url, "uploads")

    async def make(self) -> Wire:
        """The wire this upload began with; for a new one, what was asked for or what the server offers.

        A lane that the server has made goes on without another question.

        Raises:
            KeyRejected: 401.
            UploadRefused: the server does not offer what the upload needs, or does not take so much.
            GaveUp: it did not say what it offers within the retry budget.
        """
        if is_given(self.job.endpoint):
            return self._tus(Capabilities())
        if self.job.wire is WireName.TUS and self.begun:
            return self._tus(self._remembered(of_any_age=True) or Capabilities(creation_url=self.creation_url))
        wanted = self.job.wire or (None if self.manner.wire == "auto" else WireName(self.manner.wire))
        found = None if wanted is WireName.SINGLE else await self._capabilities()
        if found is not None and "creation" in found.extensions:
            return self._tus(found)
        if wanted is WireName.TUS or self.job.kind is JobKind.DELIVERY:
            raise UploadRefused(
                f"There is no tus server that creates uploads at {self.job.endpoint}",
                hint="check the address; what was stored is kept: `speechstream resume`",
            )
        artifact, boundary = self.artifact, secrets.token_hex(16)
        return SingleWire(self.base_url, artifact.filename, artifact.media_type, self.job.idempotency_key, boundary)

    def _tus(self, found: Capabilities) -> TusWire:
        artifact = self.artifact
        if found.max_size_bytes is not None and artifact.size_bytes > found.max_size_bytes:
            raise UploadRefused(
                f"The server takes at most {found.max_size_bytes} bytes, and {artifact.filename} has "
                f"{artifact.size_bytes}",
                hint="a smaller recipe may fit: `--recipe standard`",
            )
        return TusWire(
            found.creation_url,
            artifact.filename,
            artifact.media_type,
            self.job.idempotency_key if self.job.kind is JobKind.TRANSCRIPTION else None,
            self._checksum_algorithm(found),
            joins="concatenation" in found.extensions,
            joins_ahead="concatenation-unfinished" in found.extensions,
            defers="creation-defer-length" in found.extensions,
            request_bytes=self.manner.request_bytes,
            metadata=self.manner.metadata,
        )

    def _checksum_algorithm(self, found: Capabilities) -> str | None:
        if not self.manner.checksum:
            return None
        for algorithm in tus.CHECKSUMS:
            if "checksum" in found.extensions and algorithm in found.checksum_algorithms:
                return algorithm
        message = "the server offers no checksum that we know; parts are proved at the end instead"
        self.persistence.emit(Warned(self.job.id, message))
        return None

    def _remembered(self, *, of_any_age: bool = False) -> Capabilities | None:
        """What the service said before. Of a delivery's server nothing is kept: its address may hold a signature."""
        if self.job.kind is JobKind.DELIVERY:
            return None
        now = self.persistence.clock.wall()
        return self.manifest.offers.find(self.creation_url, now, of_any_age=of_any_age)

    async def _capabilities(self) -> Capabilities | None:
        remembered = self._remembered()
        if remembered is not None:
            return remembered
        url = self.creation_url

        async def ask() -> Capabilities | None:
            try:
                return await self.exchanger.converse(tus.discover(url))
            except Unauthorized as fault:
                raise key_rejected(fault) from fault

        found: Capabilities | None = await self.persistence.until_answered(ask, "Asking what the server offers")
        log.info("the server offers %s", ", ".join(sorted(found.extensions)) if found else "no tus")
        if found is not None and self.job.kind is JobKind.TRANSCRIPTION:
            self.manifest.offers.save(url, found, self.persistence.clock.wall())
        return found
