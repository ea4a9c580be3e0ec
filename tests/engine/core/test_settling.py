from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.settling import Entry, Settling

FILE = Entry(inode=7, size_bytes=100, mtime_ns=5)


def test_a_file_settles_when_it_has_been_the_same_for_long_enough() -> None:
    """Measured from the first look that found it as it is."""
    settling = Settling(10.0)
    assert settling.look([("a", FILE)], 0.0) == []
    assert settling.look([("a", FILE)], 9.9) == []
    assert settling.look([("a", FILE)], 10.0) == [("a", FILE)]


@pytest.mark.parametrize("change", [{"size_bytes": 101}, {"mtime_ns": 6}, {"inode": 8}])
def test_any_change_begins_the_wait_anew(change: dict[str, int]) -> None:
    """Growth, a header that is rewritten at the same size, and a file that took the other's place."""
    settling, changed = Settling(10.0), replace(FILE, **change)
    settling.look([("a", FILE)], 0.0)
    assert settling.look([("a", changed)], 9.0) == []
    assert settling.look([("a", changed)], 18.9) == []
    assert settling.look([("a", changed)], 19.0) == [("a", changed)]


def test_what_was_handed_out_comes_again_only_if_it_changes() -> None:
    """Until somebody takes it, it is offered at every look; then never, unless it is another file."""
    settling = Settling(0.0)
    assert settling.look([("a", FILE)], 0.0) == settling.look([("a", FILE)], 1.0) == [("a", FILE)]
    settling.hand_out("a", FILE)
    assert settling.look([("a", FILE)], 2.0) == []
    assert settling.look([("a", replace(FILE, size_bytes=200))], 3.0) == [("a", replace(FILE, size_bytes=200))]
    assert settling.waiting == {"a"}


def test_a_file_that_is_still_written_waits_from_now() -> None:
    """However long it has not changed: a recorder that pauses keeps it open."""
    settling = Settling(10.0)
    settling.look([("a", FILE)], 0.0)
    assert settling.look([("a", FILE)], 10.0) == [("a", FILE)]
    settling.restart("a", FILE, 10.0)
    assert settling.look([("a", FILE)], 19.0) == []
    assert settling.look([("a", FILE)], 20.0) == [("a", FILE)]


def test_what_came_to_nothing_is_due_again() -> None:
    """Not at once, and not never."""
    settling = Settling(10.0)
    settling.look([("a", FILE)], 0.0)
    settling.hand_out("a", FILE)
    settling.take_back("a", FILE, due_s=100.0)
    assert settling.look([("a", FILE)], 99.0) == []
    assert settling.look([("a", FILE)], 100.0) == [("a", FILE)]


def test_what_was_there_before_is_left_if_it_stays_as_it_is() -> None:
    """Only what comes, or goes on growing, is taken then."""
    settling = Settling(1.0)
    settling.look([("old", FILE), ("growing", FILE)], 0.0)
    settling.hand_out_all()
    grown = replace(FILE, size_bytes=200)
    settling.look([("old", FILE), ("growing", grown), ("new", FILE)], 1.0)
    assert settling.look([("old", FILE), ("growing", grown), ("new", FILE)], 2.0) == [("growing", grown), ("new", FILE)]


def test_what_is_gone_is_forgotten() -> None:
    """A folder through which a million recordings go is not remembered; one that returns is new."""
    settling = Settling(0.0)
    for number in range(1000):
        settling.look([(f"{number}", FILE)], float(number))
        settling.hand_out(f"{number}", FILE)
    settling.look([], 1000.0)
    assert (settling.waiting, len(settling._handed)) == (frozenset(), 0)
