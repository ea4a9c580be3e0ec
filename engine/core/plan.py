"""How an artifact is cut into parts and lanes. Deterministic in its arguments, so a plan can be made again."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from ..model import Plan, Span

PART_SIZE_BYTES: Final = 8 << 20  # hashing one again after a kill is invisible; 1000 digests cover 8 GB
MAX_PARTS: Final = 10_000  # the most S3 takes, and a submit document of under 400 KB
MAX_LANES: Final = 64  # a tus final concatenation names every lane in one header


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
