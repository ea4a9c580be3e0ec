"""The nouns that every layer shares. Plain frozen data: no I/O, no policy."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .redaction import Secret


class Span(Struct, frozen=True, order=True):
    """A half-open range of bytes, `start <= offset < stop`."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"not a span: {self.start}..{self.stop}")

    @property
    def size_bytes(self) -> int:
        """How many bytes the span covers."""
        return self.stop - self.start


AUTO: Final = "auto"
AS_IS: Final = "as-is"  # the recipe that prepares nothing
MAX_LANES: Final = 64
"""How many lanes an upload is planned with at most, and how many send at once."""

MOST_LANES: Final = 96
"""How many there may be once some were cut: a tus final concatenation names every one in one header."""

OPEN_END: Final = (1 << 63) - 1
"""Where a span stops whose end nobody knows yet (bytes): the furthest offset a file can have."""


class WireName(StrEnum):
    """The protocols an artifact can travel by."""

    SINGLE = "single"
    TUS = "tus"


class JobKind(StrEnum):
    """What the job ends with: a transcript, or only delivered bytes."""

    TRANSCRIPTION = "transcription"
    DELIVERY = "delivery"


class JobState(StrEnum):
    """Where a job is on its way. The legal moves are in `core.job`."""

    NEW = "new"
    PREPARING = "preparing"
    UPLOADING = "uploading"
    SUBMITTING = "submitting"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    AMBIGUOUS = "ambiguous"


class Proof(StrEnum):
    """What is known of the bytes at the other end: compared there with our digests, or only counted."""

    VERIFIED = "verified by server"
    LENGTH = "length only"


class Limits(Struct, frozen=True):
    """How large one request's payload may be, as servers state it (bytes)."""

    min_bytes: int = 1
    max_bytes: int | None = None
    multiple_bytes: int = 1
    exact_bytes: int | None = None


class Capabilities(Struct, frozen=True):
    """What a server's tus endpoint offers, as its OPTIONS reply said."""

    extensions: frozenset[str] = frozenset()
    max_size_bytes: int | None = None
    checksum_algorithms: tuple[str, ...] = ()
    creation_url: str = ""


class Plan(Struct, frozen=True):
    """How an artifact is cut. Stored; its parts never change for an upload, and its lanes only by being cut in two.

    Parts are the unit of proof, lanes (contiguous) the unit of transfer.
    """

    part_size_bytes: int
    total_bytes: int
    lanes: tuple[Span, ...]

    @property
    def part_count(self) -> int:
        """Parts in the artifact; an empty artifact has none."""
        return -(-self.total_bytes // self.part_size_bytes)

    def part(self, index: int) -> Span:
        """The bytes of one part; the last may be short."""
        start = index * self.part_size_bytes
        return Span(start, min(start + self.part_size_bytes, self.total_bytes))

    def parts_within(self, span: Span) -> Iterator[int]:
        """Indices of the parts that touch `span`."""
        if span.size_bytes:
            yield from range(span.start // self.part_size_bytes, (span.stop - 1) // self.part_size_bytes + 1)


class Standing(Struct, frozen=True):
    """Where the server says a lane is (bytes from the lane's start).

    `deferred` when it says that it has not been told the length. `processing_id` is set only by a wire whose last reply
    also creates the job.
    """

    offset_bytes: int
    length_bytes: int | None = None
    expires_at: float | None = None
    processing_id: str | None = None
    deferred: bool = False


class Lane(Struct, frozen=True):
    """One append-only remote resource and what is known of it. Counts are bytes from the lane's start.

    `acked_bytes` is the server's word. `offered_bytes` is the furthest byte ever handed to the network,
    committed before it is sent: a server that claims more was written to by somebody else. `deferred` while the
    server has not been told where the lane ends; `partial` when it is only good for being joined with others; `checked`
    when every acknowledged byte came in an append that the server had a checksum for, and said yes to.
    """

    index: int
    span: Span
    created: bool = False
    url: Secret | None = None
    acked_bytes: int = 0
    offered_bytes: int = 0
    generation: int = 0
    expires_at: float | None = None
    deferred: bool = False
    partial: bool = False
    checked: bool = False

    @property
    def remaining(self) -> Span:
        """The artifact's bytes that the server has not confirmed."""
        return Span(self.span.start + self.acked_bytes, self.span.stop)

    @property
    def complete(self) -> bool:
        """Whether the server has confirmed every byte."""
        return self.created and not self.deferred and self.acked_bytes == self.span.size_bytes


class SourceIdentity(Struct, frozen=True):
    """Tells whether a recording is still the same bytes, without reading all of it."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    fingerprint: str


class ArtifactRecord(Struct, frozen=True):
    """The bytes that travel, as the manifest remembers them.

    While `growing`, nobody knows where they end, and `size_bytes` counts nothing yet. Bytes that were encoded have a
    `generation`: those of another must not be mixed with them. `speed` is how fast a processor of this machine made
    them, as a multiple of the one that recipes were measured on; None where that was not measured.
    """

    path: str
    size_bytes: int
    media_type: str
    filename: str
    recipe: str
    is_source: bool
    growing: bool = False
    generation: str = ""
    speed: float | None = None


class Tally(Struct, frozen=True):
    """What the transfer cost, kept across runs: the figures of the end line."""

    sent_bytes: int = 0
    retries: int = 0
    waited_s: float = 0.0
    sending_s: float = 0.0


class JobRecord(Struct, frozen=True):
    """One row of the manifest: everything durable about one recording's way.

    `limit_bytes_s` is its own limit of the rate: 0 for none at all, None where what is set for all holds.
    """

    id: str
    kind: JobKind
    state: JobState
    source: str
    identity: SourceIdentity
    wish: str
    endpoint: str
    idempotency_key: str
    created_at: float
    updated_at: float
    track: str | None = None
    chosen: str | None = None
    wire: WireName | None = None
    decision: str | None = None
    artifact: ArtifactRecord | None = None
    plan: Plan | None = None
    processing_id: str | None = None
    transcription: str | None = None
    result_url: Secret | None = None
    joined_url: Secret | None = None
    join_count: int = 0
    proof: Proof | None = None
    uploaded_at: float | None = None
    completed_at: float | None = None
    failure: str | None = None
    limit_bytes_s: int | None = None
    tally: Tally = Tally()


class Transcript(Struct, frozen=True):
    """What the caller came for. `proof` is None where another machine sent it."""

    job_id: str
    processing_id: str
    text: str
    source: str
    proof: Proof | None = None


class Receipt(Struct, frozen=True):
    """An upload the service has accepted as a job."""

    job_id: str
    processing_id: str
    source: str
    proof: Proof | None = None


class Delivery(Struct, frozen=True):
    """Bytes delivered to a tus server; `url` is the upload's own and a capability."""

    job_id: str
    url: Secret
    source: str
    size_bytes: int
    proof: Proof | None = None


class JobStatus(Struct, frozen=True):
    """One answer of the service's status call."""

    processing_id: str
    status: str
    transcription: str | None = None
    message: str | None = None
