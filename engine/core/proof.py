"""What it means that a file still is what was sent: verdicts, part by part."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from ..model import Proof, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..model import Lane, Plan


class Verdict(StrEnum):
    """What was found on the disk."""

    EQUAL = "equal"
    CHANGED = "changed"
    GONE = "gone"
    UNPROVED = "unproved"


class Comparison(Struct, frozen=True):
    """A file against what is known of it.

    Attributes:
        side: what the file is: `recording` or `artifact`.
        path: where it was looked for.
        verdict: `unproved` where nothing is known that could tell.
        expected_bytes: the size it had.
        size_bytes: the size it has; None when it is gone.
        differing: the bytes in which it differs, in whole parts; empty where only its identity is known.
        proved_parts: how many parts were compared.
        parts: how many it has; None where only its identity is known.
        remark: what else a person should know.
    """

    side: str
    path: str
    verdict: Verdict
    expected_bytes: int
    size_bytes: int | None
    differing: tuple[Span, ...] = ()
    proved_parts: int = 0
    parts: int | None = None
    remark: str | None = None


def differing_spans(
    plan: Plan, size_bytes: int, expected: Mapping[int, bytes], found: Mapping[int, bytes]
) -> tuple[Span, ...]:
    """Where a file of `size_bytes` is not what was `expected`, in whole parts; neighbours are one span.

    A part of which nothing is expected is not judged; one that was not `found` differs. What the file has too much or
    too little differs as well.
    """
    bad = [plan.part(index) for index, digest in sorted(expected.items()) if found.get(index) != digest]
    if size_bytes != plan.total_bytes:
        bad.append(Span(min(size_bytes, plan.total_bytes), max(size_bytes, plan.total_bytes)))
    return tuple(_joined(bad))


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    open_span: Span | None = None
    for span in sorted(spans):
        if open_span is not None and span.start <= open_span.stop:
            open_span = Span(open_span.start, max(open_span.stop, span.stop))
            continue
        if open_span is not None:
            yield open_span
        open_span = span
    if open_span is not None:
        yield open_span


def proof_of_delivery(lanes: Sequence[Lane]) -> Proof:
    """What a delivery proved: a server that was given checksums for all of one upload has compared it.

    Of an upload that it joined from several it has compared the pieces, and nobody the whole.
    """
    return Proof.VERIFIED if len(lanes) == 1 and lanes[0].checked else Proof.LENGTH
