"""How many lanes the control finds, over links that are only arithmetic."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import mean

import pytest

from engine.core.control import FILLING_LANES, FIRST_LANES, MAX_LANES, LaneControl, Traffic
from tests.engine.core.links import Link, Road, controlled, fixed, some_link

COUNTS = (1, 2, 4, 8, 16, 32)
LOSSY = Link(2_500_000, 0.08, 0.005, 0.3)
CLEAN = Link(1_250_000, 0.04, 0.0, 0.25)


def driven(link: Link, seconds: float, control: LaneControl | None = None) -> LaneControl:
    """The control after so long on a link."""
    road, control = Road(link, random.Random(5)), control or LaneControl()
    while road.now_s < seconds:
        road.step(control.lanes)
        control.see(road.traffic())
    return control


def share_of_best(seed: int) -> float:
    """What the control moves over some link, beside the best fixed number of lanes there."""
    link = some_link(random.Random(seed))
    seconds = max(30.0, 100 * link.rtt_s)
    best = max(fixed(link, count, seconds, seed) for count in COUNTS)
    return controlled(link, seconds, seed) / best


def test_it_comes_near_the_best_fixed_number_of_lanes() -> None:
    """Over links of all kinds, beginning included, a tenth is lost at most on average."""
    assert mean(share_of_best(seed) for seed in range(60)) >= 0.9


@pytest.mark.long
def test_it_comes_near_the_best_over_a_thousand_links() -> None:
    """The same over a thousand of them."""
    assert mean(share_of_best(seed) for seed in range(1000)) >= 0.9


def test_a_link_that_loses_packets_gets_many_lanes() -> None:
    """One flow moves a tenth of such a link."""
    assert driven(LOSSY, 20).lanes >= 8
    assert controlled(LOSSY, 30, 1) > 5 * fixed(LOSSY, 1, 30, 1)


def test_a_link_that_is_full_gets_no_more() -> None:
    """Its queue says so."""
    assert driven(CLEAN, 20).lanes <= FIRST_LANES


def test_a_slow_server_gets_no_more_for_long() -> None:
    """Round trips are short and the queue is empty, but more lanes move no more bytes."""
    control, acked = LaneControl(), 0.0
    for tick in range(600):
        acked += 1e5
        control.see(Traffic(tick / 10, int(acked), control.lanes, 0.021, 0.02))
    assert control.lanes <= 2 * FIRST_LANES


def test_where_this_processor_is_what_is_slow_there_are_no_more_lanes() -> None:
    """Round trips are short and each further lane would move a little more, at the cost of a whole processor."""
    control, worn = LaneControl(), LaneControl()
    for tick in range(600):
        control.see(Traffic(tick / 10, tick * 10**6 * control.lanes, control.lanes, 0.0011, 0.001, cpu_s=tick * 0.05))
        worn.see(Traffic(tick / 10, tick * 10**6 * worn.lanes, worn.lanes, 0.0011, 0.001, cpu_s=tick * 0.098))
    assert control.lanes == MAX_LANES
    assert worn.lanes == FIRST_LANES


def test_where_the_kernel_tells_nothing_the_gain_decides() -> None:
    """Each lane moves as much, up to eight of them."""
    control, acked = LaneControl(), 0.0
    for tick in range(900):
        acked += 2e4 * min(control.lanes, 8)
        control.see(Traffic(tick / 10, int(acked), control.lanes))
    assert 6 <= control.lanes <= 12


def test_the_cap_holds() -> None:
    """Whatever the link could take."""
    assert driven(LOSSY, 20, LaneControl(3)).lanes == 3
    assert driven(replace(LOSSY, loss=0.02), 60).lanes <= MAX_LANES


def test_a_server_that_asks_for_patience_gets_half() -> None:
    """Once for a burst of refusals, and nothing is tried for a while."""
    control = driven(LOSSY, 20)
    before, now_s = control.lanes, 20.0
    control.refused(now_s)
    control.refused(now_s + 1)
    assert control.lanes == before // 2
    for tick in range(200):
        control.see(Traffic(now_s + tick / 10, tick * 100_000, control.lanes, 0.08, 0.08))
    assert control.lanes == before // 2
    for tick in range(200, 400):
        control.see(Traffic(now_s + tick / 10, tick * 100_000 * control.lanes, control.lanes, 0.08, 0.08))
    assert control.lanes > before // 2


def test_what_is_held_back_teaches_nothing() -> None:
    """Under a limit on the rate, or during an outage, the number stays."""
    control = LaneControl()
    for tick in range(300):
        control.see(Traffic(tick / 10, tick * 1000, control.lanes, 0.05, 0.05, held=True))
    assert control.lanes == FIRST_LANES


def test_lanes_without_work_teach_nothing() -> None:
    """When less sends than could, no more are asked for."""
    control = LaneControl()
    for tick in range(300):
        control.see(Traffic(tick / 10, tick * 1000, 1, 0.04, 0.04))
    assert control.lanes == FIRST_LANES


def test_a_long_way_begins_with_more_lanes() -> None:
    """There every window takes its time to grow."""
    control = LaneControl()
    control.see(Traffic(0.0, 0, 1, 0.6, 0.6))
    assert control.lanes > 2 * FIRST_LANES


def test_a_full_queue_leaves_as_many_as_there_were_to_begin_with() -> None:
    """On a way of 0.12 s a loss takes long to mend: two connections leave the link idle meanwhile."""
    control = driven(Link(1e6, 0.12, 0.0, 0.5), 120)
    assert control.lanes == FIRST_LANES + 2


def test_a_round_trip_measured_behind_a_queue_keeps_no_lanes() -> None:
    """New connections know nothing of the idle link: what the first ones saw holds."""
    control = driven(Link(2e6, 0.12, 0.01, 0.5), 8)
    before = control.lanes
    for tick in range(600):
        control.see(Traffic(8 + tick / 10, 10**9 + tick * 100_000, control.lanes, 9.0, 3.0))
    assert control.lanes < before


def test_connections_that_fill_a_link_by_themselves_stay_few() -> None:
    """More of them would only fight each other for the queue."""
    assert driven(replace(LOSSY, loss=0.02), 60, LaneControl(filling=True)).lanes <= FILLING_LANES


def test_another_link_is_measured_anew() -> None:
    """What was full before may have room now."""
    control = driven(CLEAN, 20)
    control.link_changed()
    assert driven(LOSSY, 20, control).lanes >= 8
