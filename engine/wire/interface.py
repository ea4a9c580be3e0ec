"""What every wire can do for a lane: the seam between policy and protocol.

A wire is a frozen value. Each method begins a conversation; none keeps state between calls, so any lane may be driven
by any worker. The contract:

* `create` makes the remote resource and is not idempotent: a lost answer leaves an orphan that expires.
* `locate` asks for the offset; it is idempotent and never called while an append of ours is under way.
* `append` sends bytes at an offset; after any failure the lane asks `locate` before it appends again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..faults import Refused
from ..model import Limits, Standing, WireName
from . import single, tus
from .hosts import published_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import Lane, Span
    from ..redaction import Secret
    from .message import Conversation
    from .tus import Checksum, Created

MAX_CHECKSUMMED_BYTES: Final = 16 << 20  # a cut request with a checksum keeps nothing, so it must be cheap to repeat


class Wire(Protocol):
    """How lanes travel to one server."""

    @property
    def name(self) -> WireName:
        """Which protocol this is."""

    @property
    def limits(self) -> Limits:
        """How large one append may be."""

    @property
    def resumable(self) -> bool:
        """Whether an interrupted append leaves bytes behind.

        If not, all bytes go in one append, and one that left whole may have made a job.
        """

    @property
    def checksum_algorithm(self) -> str | None:
        """The algorithm that appends must carry a checksum of, if any."""

    def create(self, lane: Lane, size_bytes: int | None) -> Conversation[Created | None]:
        """Make the lane's resource, its length told now or later (None); None where the wire has no such thing."""

    def locate(self, lane: Lane) -> Conversation[Standing]:
        """Where the lane stands."""

    def append(
        self,
        lane: Lane,
        span: Span,
        offset_bytes: int,
        *,
        declare_bytes: int | None = None,
        checksum: Checksum | None = None,
    ) -> Conversation[Standing]:
        """Send `span` at `offset_bytes`, and tell the lane's length where it was left open."""


class TusWire(Struct, frozen=True):
    """Lanes as tus uploads.

    Where the server says so it `joins` several into one, also before they are complete (`joins_ahead`), and `defers`
    lengths.

    Without a creation URL there is one upload, made by somebody else, and no other can be made. `request_bytes` is the
    size that the caller wants every append to have; `metadata` goes along with what we say of an upload ourselves.
    """

    creation_url: str
    filename: str
    media_type: str
    idempotency_key: str | None = None
    checksum_algorithm: str | None = None
    joins: bool = False
    joins_ahead: bool = False
    defers: bool = False
    request_bytes: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> WireName:
        """Tus."""
        return WireName.TUS

    @property
    def limits(self) -> Limits:
        """What the caller wants, else what the server publishes; a checksummed request stays small."""
        if self.request_bytes is not None:
            return Limits(exact_bytes=self.request_bytes)
        published = published_limits(self.creation_url)
        if self.checksum_algorithm and published.exact_bytes is None:
            most_bytes = published.max_bytes or MAX_CHECKSUMMED_BYTES
            return replace(published, max_bytes=min(most_bytes, MAX_CHECKSUMMED_BYTES))
        return published

    @property
    def resumable(self) -> bool:
        """Every byte that arrived is kept."""
        return True

    def create(self, lane: Lane, size_bytes: int | None) -> Conversation[Created | None]:
        """POST to the creation URL. The key names all that is said of the lane: a server that knows keys makes it once.

        Asked again after a kill, the same lane may have a length that it had not: that is another request.
        """
        if not self.creation_url:
            raise Refused("it is not there as it was given, and no other can be made in its place", 0)
        kind = f"{'partial' if lane.partial else 'whole'}.{'open' if size_bytes is None else size_bytes}"
        return (
            yield from tus.create(
                self.creation_url,
                size_bytes=size_bytes,
                filename=self.filename,
                media_type=self.media_type,
                partial=lane.partial,
                extra_metadata=self.metadata,
                headers=self._key(f"{lane.index}.{lane.generation}.{kind}"),
            )
        )

    def join(self, lanes: Sequence[Lane], count: int) -> Conversation[Created]:
        """POST of the final upload of all `lanes`. Lanes made anew since, or another `count`, make another key."""
        generations = sum(lane.generation for lane in lanes)
        return (
            yield from tus.join(
                self.creation_url,
                tuple(map(_url, lanes)),
                filename=self.filename,
                media_type=self.media_type,
                extra_metadata=self.metadata,
                headers=self._key(f"join.{generations}.{count}"),
            )
        )

    def _key(self, name: str) -> tuple[tuple[str, str], ...]:
        return (("Idempotency-Key", f'"{self.idempotency_key}.{name}"'),) if self.idempotency_key else ()

    def locate(self, lane: Lane) -> Conversation[Standing]:
        """HEAD of the upload."""
        return tus.locate(_url(lane))

    def append(
        self,
        lane: Lane,
        span: Span,
        offset_bytes: int,
        *,
        declare_bytes: int | None = None,
        checksum: Checksum | None = None,
    ) -> Conversation[Standing]:
        """PATCH of the upload."""
        return tus.append(_url(lane), span, offset_bytes, declare_bytes=declare_bytes, checksum=checksum)


class SingleWire(Struct, frozen=True):
    """The documented call: the whole artifact in one request, which also makes the job."""

    endpoint: str
    filename: str
    media_type: str
    idempotency_key: str
    boundary: str

    @property
    def name(self) -> WireName:
        """Single."""
        return WireName.SINGLE

    @property
    def limits(self) -> Limits:
        """None that is documented."""
        return Limits()

    @property
    def resumable(self) -> bool:
        """Nothing of a broken request is kept."""
        return False

    @property
    def checksum_algorithm(self) -> None:
        """The documented call has none."""
        return

    def create(self, lane: Lane, size_bytes: int | None) -> Conversation[Created | None]:
        """There is nothing to make."""
        del lane, size_bytes
        return None
        yield

    def locate(self, lane: Lane) -> Conversation[Standing]:
        """Always at the beginning."""
        del lane
        return Standing(0)
        yield

    def append(
        self,
        lane: Lane,
        span: Span,
        offset_bytes: int,
        *,
        declare_bytes: int | None = None,
        checksum: Checksum | None = None,
    ) -> Conversation[Standing]:
        """POST everything."""
        del lane, declare_bytes, checksum
        processing_id = yield from single.post(
            self.endpoint,
            span,
            filename=self.filename,
            media_type=self.media_type,
            boundary=self.boundary,
            idempotency_key=self.idempotency_key,
        )
        return Standing(offset_bytes + span.size_bytes, processing_id=processing_id)


def _url(lane: Lane) -> Secret:
    if lane.url is None:
        raise ValueError(f"lane {lane.index} has no URL yet")
    return lane.url
