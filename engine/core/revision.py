"""What an upload that has begun is still worth when its recording has changed.

Theory of operation. A server's resource can only be appended to, so a lane is kept whole or begins anew. It is kept
when no byte that it may hold has changed: every part of what was ever offered to it has the digest it had. What was
offered without a digest (a part that was half sent, or whose digest a kill took away) cannot be judged here. A server
that compares the whole at the end judges it (`judged_later`); elsewhere the lane begins anew.

A recording that has grown keeps its lanes, and the rest becomes new ones: lanes need not begin at parts. Where lanes
cannot be added (there is one that is no partial upload, or there are 64) the last one begins anew, with its new length.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ..model import MAX_LANES, Lane, Span
from .plan import LEAST_LANE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ..model import Plan


class Revision(Struct, frozen=True):
    """What becomes of an upload.

    Attributes:
        lanes: all lanes, as they are from now on.
        dropped: those that begin anew, as they were; their resources are of no more use.
        forgotten: parts whose digests no longer hold, or whose extent is another now.
    """

    lanes: tuple[Lane, ...]
    dropped: tuple[Lane, ...]
    forgotten: frozenset[int]


def revise(
    plan: Plan, lanes: Sequence[Lane], known: Collection[int], changed: Collection[int], total_bytes: int, *,
    judged_later: bool,
) -> Revision:  # fmt: skip
    """What becomes of `lanes` now that the recording has `total_bytes`, at least as many as before.

    `known` are the parts of `plan` that have a digest, `changed` those of them that have another one now.

    Raises:
        ValueError: the recording has become shorter.
    """
    if total_bytes < plan.total_bytes:
        raise ValueError(f"a recording of {plan.total_bytes} bytes cannot be revised to {total_bytes}")
    forgotten = set(changed)
    if total_bytes > plan.total_bytes and plan.total_bytes % plan.part_size_bytes:
        forgotten.add(plan.part_count - 1)  # the part that was short goes on now
    dropped = [lane for lane in lanes if not _holds(plan, lane, known, changed, judged_later=judged_later)]
    grown = list(lanes)
    if total_bytes > plan.total_bytes:
        grown = _grown(lanes, total_bytes)
        dropped += [
            lane
            for lane, now in zip(lanes, grown, strict=False)
            if now.span != lane.span and lane.created and lane not in dropped
        ]
    indices = {lane.index for lane in dropped}
    kept = tuple(begun_anew(lane) if lane.index in indices else lane for lane in grown)
    return Revision(kept, tuple(dropped), frozenset(forgotten))


def begun_anew(lane: Lane) -> Lane:
    """The lane without its resource. Its generation goes on, so that the next one is made under another key."""
    return replace(
        lane,
        created=False,
        url=None,
        deferred=False,
        checked=False,
        acked_bytes=0,
        offered_bytes=0,
        generation=lane.generation + 1,
        expires_at=None,
    )


def _holds(plan: Plan, lane: Lane, known: Collection[int], changed: Collection[int], *, judged_later: bool) -> bool:
    offered = Span(lane.span.start, min(lane.span.start + lane.offered_bytes, lane.span.stop))
    touched = set(plan.parts_within(offered))
    return not touched & set(changed) and (judged_later or touched <= set(known))


def _grown(lanes: Sequence[Lane], total_bytes: int) -> list[Lane]:
    """The lanes and those for the rest; the last is made longer where that costs nothing or nothing else will do."""
    last = lanes[-1]
    rest = Span(last.span.stop, total_bytes)
    small = rest.size_bytes < LEAST_LANE_BYTES and not last.created
    if small or not last.partial or len(lanes) >= MAX_LANES:
        return [*lanes[:-1], replace(last, span=Span(last.span.start, total_bytes), generation=last.generation + 1)]
    count = max(1, min(MAX_LANES - len(lanes), rest.size_bytes // LEAST_LANE_BYTES))
    edges = [rest.start + rest.size_bytes * number // count for number in range(count + 1)]
    generation = max(lane.generation for lane in lanes) + 1
    first = max(lane.index for lane in lanes) + 1
    return [
        *lanes,
        *(
            Lane(first + number, Span(*edge), generation=generation, partial=True)
            for number, edge in enumerate(pairwise(edges))
        ),
    ]
