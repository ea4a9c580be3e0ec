"""Who may send, of all uploads of one process."""

from __future__ import annotations

from engine.core.control import LaneControl
from engine.core.watchdog import Sample
from engine.runtime.workforce import Workforce


def wake() -> None:
    """Nobody sleeps here."""


def test_every_upload_gets_one_place_at_once() -> None:
    """However many others have."""
    force = Workforce(LaneControl(2))
    for upload in ("one", "other", "third"):
        force.join(upload, wake)
        assert force.admits(upload, 8)
        force.took(upload)
    assert not force.admits("one", 8)


def test_places_are_those_of_the_process() -> None:
    """What one upload gives back, another may take."""
    force, woken = Workforce(LaneControl(2)), list[str]()
    force.join("one", wake)
    force.join("other", lambda: woken.append("other"))
    force.took("one")
    force.took("one")
    force.took("other")
    assert not force.admits("other", 8)
    assert force.wants_back("one")
    assert not force.wants_back("other")
    woken.clear()
    force.gave_back("one")
    assert woken == ["other"]
    assert not force.wants_back("one")
    force.leave("one")
    assert force.admits("other", 8)


def test_an_upload_that_is_worth_fewer_gives_back() -> None:
    """A limit on its rate may come while it sends."""
    force = Workforce()
    force.join("one", wake)
    assert force.admits("one", 3)
    for _ in range(3):
        force.took("one")
    assert not force.wants_back("one")
    assert not force.admits("one", 2)
    assert force.wants_back("one")
    force.gave_back("one")
    assert not force.wants_back("one")


def test_bytes_are_counted_over_all_connections() -> None:
    """A connection that carried something before counts from where it stands; an ended one keeps what it had."""
    control = LaneControl()
    force = Workforce(control)
    force.join("one", wake)
    acked = 0
    for tick in range(60):
        acked += 100_000 * control.lanes
        lanes = [(lane, Sample(acked_bytes=5_000_000 + acked, rtt_s=0.05, base_rtt_s=0.05)) for lane in range(9)]
        force.see(lanes[: control.lanes], tick / 10, held=False)
    assert control.lanes > 4


def test_a_connection_in_the_making_is_none_yet() -> None:
    """It has moved nothing, and knows no round trip."""
    control = LaneControl()
    force = Workforce(control)
    for tick in range(60):
        force.see([(1, Sample(connected=False))], tick / 10, held=False)
    assert control.lanes == 2


def test_a_limit_of_one_upload_outlasts_another_s_word() -> None:
    """While any of them is held back, what moves says nothing of the link; once it has ended, it does again."""
    control = LaneControl()
    force, acked = Workforce(control), 0
    for upload in ("limited", "free"):
        force.join(upload, wake)
        force.limit(upload, limited=upload == "limited")
    for tick in range(120):
        if tick == 60:
            assert control.lanes == 2
            force.leave("limited")
        acked += 100_000 * control.lanes
        lanes = [(lane, Sample(acked_bytes=acked, rtt_s=0.05, base_rtt_s=0.05)) for lane in range(control.lanes)]
        force.see(lanes, tick / 10, held=False)
    assert control.lanes > 2


def test_who_is_held_back_by_something_else_needs_no_lanes() -> None:
    """A polite upload that sends more and more does so because it may: that is no gain of lanes."""
    held = True
    control = LaneControl()
    force, acked = Workforce(control, lambda: held), 0
    for tick in range(120):
        if tick == 60:
            assert control.lanes == 2
            held = False
        acked += 10_000 * tick
        lanes = [(lane, Sample(acked_bytes=acked, rtt_s=0.05, base_rtt_s=0.05)) for lane in range(control.lanes)]
        force.see(lanes, tick / 10, held=False)
    assert control.lanes > 2
