from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.proof import differing_spans
from engine.model import Plan, Span

SENT = bytes(number % 251 for number in range(1000))
PLAN = Plan(64, len(SENT), (Span(0, len(SENT)),))


def digests(content: bytes) -> dict[int, bytes]:
    """Of the parts that the content is long enough for; which hash it is makes no difference."""
    parts = map(PLAN.part, range(PLAN.part_count))
    return {
        index: hashlib.sha256(content[part.start : part.stop]).digest()
        for index, part in enumerate(parts)
        if part.stop <= len(content)
    }


@given(at=st.sets(st.integers(0, len(SENT) - 1), max_size=20), known=st.sets(st.integers(0, PLAN.part_count - 1)))
def test_changed_bytes_are_found_and_nothing_else(at: set[int], known: set[int]) -> None:
    """The spans hold every changed byte of a known part, are made of whole changed parts, and do not touch."""
    now = bytearray(SENT)
    for offset in at:
        now[offset] ^= 1
    expected = {index: digest for index, digest in digests(SENT).items() if index in known}
    found = differing_spans(PLAN, len(now), expected, digests(bytes(now)))
    changed = {index for offset in at for index in PLAN.parts_within(Span(offset, offset + 1))} & known
    assert {index for span in found for index in PLAN.parts_within(span)} == changed
    assert sum(span.size_bytes for span in found) == sum(PLAN.part(index).size_bytes for index in changed)
    assert all(one.stop < other.start for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("now", "spans"),
    [
        (SENT, ()),
        (SENT + b"more", (Span(1000, 1004),)),
        (SENT[:960], (Span(960, 1000),)),
        (SENT[:900], (Span(896, 1000),)),
        (b"", (Span(0, 1000),)),
        (b"x" + SENT[1:] + b"more", (Span(0, 64), Span(1000, 1004))),
    ],
    ids=["equal", "grown", "cut at a part", "cut in a part", "emptied", "edited and grown"],
)
def test_a_file_of_another_length(now: bytes, spans: tuple[Span, ...]) -> None:
    """What is missing differs, and so does what was added; parts that are there are judged as ever."""
    assert differing_spans(PLAN, len(now), digests(SENT), digests(now)) == spans
