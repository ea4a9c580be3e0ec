"""A polite upload on lines that are made up: a queue before a bottleneck, and others who send through it."""

from __future__ import annotations

import random

import pytest

from engine.core.polite import LEAST_BYTES_S, MEASURE_EVERY_S, MEASURE_S, TARGET_S, Modest, Polite, Sight
from tests.engine.core.lines import Cubic, Line, ordinary, some_line

DSL = (1.25e6, 0.040)


@pytest.mark.parametrize(
    ("rate", "base_s", "full_after_s"),
    [(125e3, 0.03, 5), (1.25e6, 0.02, 8), (*DSL, 8), (2.5e6, 0.08, 10), (1.25e6, 0.2, 20), (12.5e6, 0.05, 15)],
)
def test_an_idle_line_is_used_and_its_queue_is_not(rate: float, base_s: float, full_after_s: float) -> None:
    """Nineteen twentieths of what it carries, under 50 ms of delay at every moment, and under 30 as a rule."""
    line = Line(rate, base_s)
    line.run(60)
    assert line.share(full_after_s, 60)[0] >= 0.95
    assert line.delay_s(0, 60, 1.0) < 0.050
    assert line.delay_s(full_after_s, 60) < 0.030


@pytest.mark.parametrize(("rate", "base_s"), [DSL, (2.5e6, 0.08), (12.5e6, 0.05)])
def test_whoever_else_sends_has_the_line_and_its_rest_is_taken_back(rate: float, base_s: float) -> None:
    """An ordinary upload gets all but a little, and soon after its end the line is ours again."""
    line = Line(rate, base_s)
    line.run(20)
    line.other = Cubic()
    line.run(50)
    line.other = None
    line.run(70)
    assert line.share(25, 50)[1] >= 0.95
    assert line.share(53, 70)[0] >= 0.95
    assert line.delay_s(53, 70, 1.0) < 0.050


def test_it_never_starves() -> None:
    """Beside somebody who never lets go there are 16 KiB/s left for us."""
    line = Line(*DSL, other=Cubic())
    line.run(60)
    assert line.share(20, 60)[0] >= 0.9 * LEAST_BYTES_S / line.rate


def test_a_line_that_was_busy_when_it_began() -> None:
    """The others' queue is taken for the path until it empties; then what the path is, is seen at once."""
    line = Line(*DSL, other=Cubic())
    line.run(30)
    assert line.share(10, 30)[1] >= 0.9
    line.other = None
    line.run(60)
    assert line.share(40, 60)[0] >= 0.95
    assert line.delay_s(35, 60) < 0.030


def test_who_stood_in_his_own_queue_since_he_came() -> None:
    """A queue that never emptied is found out when it is let run dry, and is not held from then on."""
    line = Line(*DSL)
    assert line.polite is not None
    line.polite.see([Sight("server", 1, line.base_s + 0.08, 1)], 0.0)  # the least RTT that was ever seen: too much
    line.srtt_s = line.base_s + 0.08
    line._queues[0] = 0.08 * line.rate
    line.run(90)
    assert line.delay_s(60, 90) < 0.030


def test_a_route_that_becomes_longer_and_shorter() -> None:
    """It is held for a queue until it has not moved for a while; a shorter one is seen at once."""
    line = Line(*DSL)
    line.run(20)
    line.base_s += 0.06
    line.run(100)
    line.base_s -= 0.06
    line.run(120)
    assert line.share(20, 35)[0] <= 0.3
    assert line.share(60, 100)[0] >= 0.95
    assert line.share(103, 120)[0] >= 0.9
    assert line.delay_s(22, 120) < 0.050


def test_a_line_that_jitters() -> None:
    """Noise of 10 ms in what the kernel tells costs little of the line."""
    line = Line(*DSL, jitter_s=0.010)
    line.run(60)
    assert line.share(10, 60)[0] >= 0.85
    assert line.delay_s(10, 60) < 0.050


def test_who_has_little_to_send_is_not_given_more() -> None:
    """A rate that is not used does not grow, so that what comes later does not come as a flood."""
    polite = Polite(0.0)
    for look in range(1, 200):
        polite.see([Sight("server", 1, 0.04, look * 1000)], look * 0.1)  # 10 kB/s
    assert polite.rate_bytes_s < 200_000


def test_of_two_connections_over_one_path_the_quicker_counts() -> None:
    """A retransmission on one connection is no queue; another path's queue is one."""
    polite = Polite(0.0)
    for look in range(1, 20):
        both = [Sight("a", 1, 0.04, look * 9000), Sight("a", 2, 0.04 + 0.2 * (look > 10), look * 9000)]
        polite.see([*both, Sight("b", 3, 0.1, look * 9000)], look * 0.1)
    assert polite.delay_s == pytest.approx(0.0, abs=0.001)
    polite.see([Sight("b", 3, 0.1 + 2 * TARGET_S, 10**6)], 2.0)
    assert polite.delay_s > TARGET_S


def test_where_no_round_trip_is_told() -> None:
    """Half of what was taken in two seconds, and that is measured anew every minute."""
    modest = Modest(0.0)
    assert modest.rate_bytes_s(0.0) is None
    modest.took(2_000_000)
    assert modest.rate_bytes_s(MEASURE_S) == 500_000
    modest.took(10**9)
    assert modest.rate_bytes_s(MEASURE_S + MEASURE_EVERY_S - 1) == 500_000
    now_s = MEASURE_S + MEASURE_EVERY_S
    assert modest.rate_bytes_s(now_s) is None
    assert modest.rate_bytes_s(now_s + MEASURE_S) is None  # nothing was sent meanwhile
    modest.took(1000)
    assert modest.rate_bytes_s(now_s + MEASURE_S) == LEAST_BYTES_S


def test_lines_of_all_kinds_stay_usable() -> None:
    """An idle line with a queue of up to two seconds is used, and its round trips stay those of a line in use."""
    for seed in range(12):
        line = some_line(random.Random(seed))
        alone = ordinary(line)
        line.run(40)
        alone.run(40)
        assert line.delay_s(0, 40, 1.0) + line.base_s <= 2 * (alone.delay_s(0, 40, 0.5) + line.base_s), seed
        assert line.delay_s(0, 40) < 0.050, seed
        assert line.share(30, 40)[0] >= 0.8, seed
