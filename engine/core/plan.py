"""How an artifact is cut into parts and lanes. Deterministic in its arguments, so a plan can be made again."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from ..model import MAX_LANES, OPEN_END, Plan, Span

PART_SIZE_BYTES: Final = 1 << 20  # what an edit of the recording costs at least; hashing one again is invisible
MAX_PARTS: Final = 2048  # a submit document of under 80 KB
LEAST_LANE_BYTES: Final = 4 << 20  # a lane costs two round trips (creation, and its share of the join)
OPEN_PART_SIZE_BYTES: Final = 8 << 20  # of unknown length: a terabyte is 131,072 digests, a day of WAV 2,000
LANES_A_SIZE: Final = 4  # of unknown length, lanes double in size after so many: the 64th begins at 1.75 TiB
DIVISIBLE_BYTES: Final = 2 << 20  # what may turn out worth a second lane on a link that loses packets
CUT_MULTIPLE_BYTES: Final = 64 << 10


def lane_count(total_bytes: int, workers: int) -> int:
    """How many lanes an artifact is worth where the server joins them.

    More than workers, so that the last one to finish is short, and so that what a repair sends again is small; one
    where only one may be under way at a time, since every server knows that form.
    """
    if workers <= 1:
        return 1
    return max(1, min(MAX_LANES, total_bytes // LEAST_LANE_BYTES))


def open_lane(index: int) -> Span:
    """The span of a lane while nobody knows how long the artifact gets; the last of the 64 takes all the rest.

    Lanes begin at parts, and double in size after every fourth.
    """
    rounds, place = divmod(index, LANES_A_SIZE)
    size = OPEN_PART_SIZE_BYTES << rounds
    start = LANES_A_SIZE * (size - OPEN_PART_SIZE_BYTES) + place * size
    return Span(start, OPEN_END if index == MAX_LANES - 1 else start + size)


def next_open_lane(start: int, *, last: bool) -> Span:
    """The open lane that begins at `start`, where those before it end; the `last` takes all that comes."""
    stop = next(span.stop for span in map(open_lane, range(MAX_LANES)) if span.stop > start)
    return Span(start, OPEN_END if last else stop)


def cut_at(start: int, stop: int) -> int | None:
    """Where to cut `start` to `stop` into halves, at a part where that makes little difference; None if too small."""
    size = stop - start
    if size < 2 * CUT_MULTIPLE_BYTES:
        return None
    multiple = PART_SIZE_BYTES if size >= 8 * PART_SIZE_BYTES else CUT_MULTIPLE_BYTES
    middle = (start + size // 2) // multiple * multiple
    return middle if start < middle < stop else start + size // 2


def make_plan(total_bytes: int, *, lanes: int = 1) -> Plan:
    """Cut `total_bytes` into equal parts, and the parts into `lanes` contiguous runs of nearly equal length.

    Raises:
        ValueError: a negative size, or a number of lanes outside 1..64.
    """
    if total_bytes < 0 or not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"cannot plan {total_bytes} bytes over {lanes} lanes")
    part_size = PART_SIZE_BYTES
    while total_bytes > part_size * MAX_PARTS:
        part_size *= 2
    parts = -(-total_bytes // part_size)
    count = max(1, min(lanes, parts))
    edges = [min(parts * index // count * part_size, total_bytes) for index in range(count)]
    spans = tuple(Span(start, stop) for start, stop in pairwise([*edges, total_bytes]))
    return Plan(part_size, total_bytes, spans)
