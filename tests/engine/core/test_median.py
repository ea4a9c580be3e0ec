from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from engine.core.median import median


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_it_is_what_the_language_says(values: list[float]) -> None:
    """Only loaded in less time."""
    assert median(values) == statistics.median(values)
