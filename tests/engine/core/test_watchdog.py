from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.watchdog import HEAD_BYTES, Guard, Patience, Phase, ReplyTimes, Sample, Trial

PATIENCE = Patience()
TICK_S = 0.1
SENDING = Sample(acked_bytes=1, unacked=True, unsent=True, heard_ago_s=0.0, answer_s=0.1, retry_in_s=0.3)
WAITING = Sample(acked_bytes=1, all_written=True, heard_ago_s=0.0, answer_s=0.1)
SECONDS = st.floats(0.0, 0.95)


def guarding(sample: Sample, *, strikes: int = 0, costly: bool = False, reply_s: float | None = None) -> Guard:
    """A guard that has just seen `sample` at 0 s."""
    guard = Guard(0.0, PATIENCE, strikes=strikes, costly=costly, reply_s=reply_s)
    guard.see(sample, 0.0)
    return guard


def silent(guard: Guard, sample: Sample, until_s: float) -> Guard:
    """Nothing is heard from 0 s to `until_s`."""
    for tick in range(1, round(until_s / TICK_S) + 1):
        guard.see(replace(sample, heard_ago_s=None if sample.heard_ago_s is None else tick * TICK_S), tick * TICK_S)
    return guard


def answered(began_s: float, at_s: float, round_trip_s: float = 0.05) -> Trial:
    """A trial that has had its answer."""
    trial = Trial(began_s)
    trial.answered(at_s, round_trip_s)
    return trial


@pytest.mark.parametrize(
    ("sample", "phase"),
    [
        (Sample(connected=False), Phase.CONNECTING),
        (Sample(unacked=True), Phase.SENDING),
        (Sample(unacked=True, unsent=True), Phase.SENDING),
        (Sample(unacked=True, all_written=True), Phase.DRAINING),
        (Sample(unsent=True), Phase.READ_LATE),
        (Sample(unsent=True, all_written=True), Phase.READ_LATE),
        (Sample(), Phase.PAUSED),
        (Sample(all_written=True), Phase.WAITING),
        (Sample(blind=True), Phase.SENDING),
        (Sample(blind=True, all_written=True), Phase.WAITING),
    ],
)
def test_the_phase_follows_from_what_the_kernel_says(sample: Sample, phase: Phase) -> None:
    """Who owes what is read from what is acknowledged, not from what was written."""
    assert sample.phase is phase


def test_a_silent_connection_is_doubted_and_dies_only_with_proof() -> None:
    """Bytes unacknowledged for a second raise a doubt; a fresh connection that is answered makes it a fact."""
    guard = silent(guarding(SENDING), SENDING, 0.9)
    assert not guard.doubtful(0.9)
    silent(guard, SENDING, 1.0)
    assert guard.doubtful(1.0)
    trial = Trial(1.0)
    assert not guard.dead(trial, 30.0)
    trial.answered(1.1, 0.05)
    assert guard.dead(trial, 1.1)


def test_a_sign_of_life_during_the_trial_acquits() -> None:
    """The old connection moved since the trial began: whatever it was, it is over."""
    guard = silent(guarding(SENDING), SENDING, 1.0)
    trial = answered(1.0, 1.1)
    guard.see(replace(SENDING, heard_ago_s=0.01), 1.1)
    assert not guard.dead(trial, 1.1)
    assert not guard.doubtful(1.1)
    late = silent(guarding(SENDING), SENDING, 1.0)
    late.see(replace(SENDING, heard_ago_s=2.0), 3.05)  # heard at 1.05 s, and never again
    assert late.doubtful(3.05)
    assert not late.dead(trial, 3.05)
    assert late.outlived(trial, 3.05)


def test_what_an_answer_takes_is_the_links_own_measure() -> None:
    """Behind 25 s of queue, a minute without an acknowledgement is no reason to doubt."""
    slow = replace(SENDING, answer_s=25.0 + 4 * 3.0)
    guard = silent(guarding(slow), slow, 70.0)
    assert not guard.doubtful(70.0)
    silent(guard, slow, 75.0)
    assert guard.doubtful(75.0)


@pytest.mark.parametrize(("strikes", "limit_s"), [(0, 1.0), (1, 2.0), (3, 8.0), (6, 60.0), (10_000, 60.0)])
def test_who_was_cut_in_vain_is_given_longer(strikes: int, limit_s: float) -> None:
    """Each connection that was cut without having moved a byte doubles the next one's time, up to a minute."""
    guard = silent(guarding(SENDING, strikes=strikes), SENDING, limit_s - TICK_S)
    assert not guard.doubtful(limit_s - TICK_S)
    assert guard.doubtful(limit_s)


def test_moving_means_more_than_a_head() -> None:
    """A path on which only small packets pass takes every request's head and none of its body."""
    guard = guarding(SENDING)
    guard.see(replace(SENDING, acked_bytes=1 + HEAD_BYTES), 0.1)
    assert not guard.moved
    guard.see(replace(SENDING, acked_bytes=2 + HEAD_BYTES), 0.2)
    assert guard.moved


def test_a_connection_that_does_not_come_about() -> None:
    """What it leads to is tried by another, sooner than a lost SYN is sent again; the first that stands is used."""
    guard = guarding(Sample(connected=False))
    assert not guard.doubtful(0.6)
    assert guard.doubtful(0.7)
    assert guard.dead(answered(0.7, 0.8), 0.8)
    other = guarding(Sample(connected=False))
    other.see(SENDING, 0.75)
    assert not other.dead(answered(0.7, 0.8), 0.8)


def test_a_server_at_work_is_waited_for() -> None:
    """As long as its kernel answers the probes of a waiting connection, a join may take its ten minutes."""
    guard = guarding(WAITING, costly=True)
    for second in range(1, 1200):
        guard.see(replace(WAITING, heard_ago_s=0.4), float(second))
        assert not guard.doubtful(float(second))


def test_a_waiting_connection_whose_probes_are_lost() -> None:
    """Two probes a second apart are lost, and a fresh connection is answered: nobody is there any more."""
    guard = silent(guarding(WAITING), WAITING, 2.4)
    assert not guard.doubtful(2.4)
    silent(guard, WAITING, 2.5)
    assert guard.doubtful(2.5)
    assert guard.dead(answered(2.5, 2.6), 2.6)


def test_a_pause_of_ours_is_not_silence() -> None:
    """Bytes written after a pause have the whole time: nothing was due before."""
    paused = replace(SENDING, unacked=False, unsent=False)
    guard = guarding(paused)
    guard.see(replace(paused, heard_ago_s=0.9), 0.9)
    guard.see(replace(SENDING, heard_ago_s=1.0), 1.0)
    assert not guard.doubtful(1.9)
    assert guard.doubtful(2.0)


def test_a_peer_that_does_not_read() -> None:
    """Its window is closed and its kernel answers: its program has 20 s, and as many again after each cut in vain."""
    late = replace(SENDING, unacked=False, heard_ago_s=0.2)
    guard = guarding(late)
    for tick in range(1, 200):
        guard.see(late, tick * TICK_S)
    assert not guard.doubtful(19.9)
    assert guard.doubtful(20.0)
    assert not guarding(late, strikes=1).doubtful(39.9)


def test_a_closed_window_behind_which_nobody_is() -> None:
    """Three probes of it unanswered are as good as silence."""
    late = replace(SENDING, unacked=False, probes_lost=3)
    guard = silent(guarding(late), late, 2.5)
    assert guard.doubtful(2.5)
    assert not silent(guarding(late), replace(late, probes_lost=2), 2.5).doubtful(2.5)


def test_acknowledgements_that_acknowledge_nothing() -> None:
    """A peer that only repeats itself is heard and does not move; it is tried after 20 s."""
    guard = guarding(SENDING)
    for tick in range(1, 201):
        guard.see(SENDING, tick * TICK_S)
    assert guard.doubtful(20.0)
    assert guard.dead(answered(20.0, 20.1), 20.1)


def test_where_only_writes_are_seen() -> None:
    """Without the kernel's knowledge a piece has a minute and a half, and a reply its own time limit."""
    blind = Sample(blind=True, acked_bytes=1)
    guard = guarding(blind)
    assert not guard.doubtful(89.0)
    guard.see(replace(blind, acked_bytes=65_537), 89.0)
    assert not guard.doubtful(178.0)
    assert guard.doubtful(179.0)
    guard.see(replace(blind, all_written=True), 179.5)
    assert not guard.doubtful(10_000.0)


# -- after an outage ---------------------------------------------------------------------------


def test_an_answer_to_a_repeated_knock_means_an_outage() -> None:
    """One that came at once says that the link was there all along."""
    assert not answered(1.0, 1.1).after_outage
    assert answered(1.0, 6.0).after_outage


def test_after_an_outage_a_connection_has_one_round_trip() -> None:
    """Its peer may have been about to answer."""
    silence = replace(SENDING, retry_in_s=7.0)
    guard = silent(guarding(silence), silence, 10.0)
    trial = answered(1.0, 10.0, round_trip_s=0.2)
    assert not guard.dead(trial, 10.1)
    assert guard.dead(trial, 10.2)


def test_a_retransmission_that_is_due_soon_is_waited_for() -> None:
    """It costs less than to connect anew; how the next one is then put off does not matter."""
    silence = replace(SENDING, retry_in_s=0.4)
    guard = silent(guarding(silence), silence, 10.0)
    trial = answered(1.0, 10.0, round_trip_s=0.2)
    assert not guard.dead(trial, 10.5)
    guard.see(replace(silence, heard_ago_s=10.5, retry_in_s=0.99), 10.5)
    assert guard.dead(trial, 10.6)


@pytest.mark.parametrize(("costly", "dead"), [(False, True), (True, False)])
def test_a_reply_that_may_be_stuck_behind_the_servers_own_pauses(costly: bool, dead: bool) -> None:  # noqa: FBT001 - a column
    """After an outage a question is put anew, though the peer's kernel answers; a join or a submission is not."""
    guard = guarding(WAITING, costly=costly)
    for tick in range(1, 101):
        guard.see(replace(WAITING, heard_ago_s=min(tick * TICK_S, 0.3) if tick > 98 else tick * TICK_S), tick * TICK_S)
    trial = answered(2.5, 9.9)
    assert not guard.doubtful(10.0)
    assert guard.dead(trial, 10.0) is dead


def test_what_is_costly_to_lose_is_given_the_kernels_own_next_try() -> None:
    """A single request in mid-body starts from nothing if cut: its retransmission may be a minute away."""
    silence = replace(SENDING, retry_in_s=40.0)
    guard = silent(guarding(silence, costly=True), silence, 60.0)
    trial = answered(1.0, 60.0)
    assert not guard.dead(trial, 99.0)
    assert guard.dead(trial, 100.1)
    quick = silent(guarding(SENDING, costly=True), SENDING, 2.0)
    assert not quick.dead(answered(1.0, 2.0), 11.9)
    assert quick.dead(answered(1.0, 2.0), 12.1)


# -- knocking ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(chances=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=100))
def test_knocks_come_about_twice_a_second_and_later_once(chances: list[float]) -> None:
    """Spread, so that the clients behind one link do not knock as one."""
    trial, knocks = Trial(0.0), list[float]()
    for tick in range(600):
        if trial.due(tick * TICK_S, chances[tick % len(chances)]):
            knocks.append(tick * TICK_S)
    assert knocks[0] == 0.0
    assert 0.29 <= knocks[1] <= 0.61
    for before, after in pairwise(knocks[1:]):
        least_s, most_s = (0.37, 0.74) if before < Trial.LATER_S else (0.74, 1.36)
        assert least_s <= after - before <= most_s
    assert trial.knocks == len(knocks)


def test_a_trial_that_was_answered_knocks_no_more() -> None:
    """And its first answer is the one that counts."""
    trial = answered(0.0, 2.0, round_trip_s=9.0)
    trial.answered(5.0, 0.1)
    assert (trial.answered_s, trial.round_trip_s) == (2.0, 1.0)
    assert not trial.due(60.0, 0.5)
    assert not trial.hopeless(60.0)


def test_three_seconds_without_an_answer_are_said_to_be_an_outage() -> None:
    """Not the first lost packet."""
    assert not Trial(0.0).hopeless(2.9)
    assert Trial(0.0).hopeless(3.0)


# -- replies -----------------------------------------------------------------------------------


def test_the_time_of_replies_is_learnt() -> None:
    """A minute at first; from five on four times what nine in ten needed, and never under half a minute."""
    times = ReplyTimes()
    for _ in range(4):
        times.took(0.1)
    assert times.limit_s() == 60.0
    times.took(0.1)
    assert times.limit_s() == 30.0
    for _ in range(20):
        times.took(20.0)
    assert times.limit_s() == 80.0


def test_a_reply_that_is_overdue_is_asked_for_anew() -> None:
    """A box on the way may answer probes for a server that is gone; each vain cut doubles the time."""
    heard = replace(WAITING, heard_ago_s=0.1)
    for strikes, limit_s in ((0, 30.0), (2, 120.0)):
        guard = guarding(WAITING, strikes=strikes, reply_s=30.0)
        guard.see(heard, limit_s - 0.1)
        assert not guard.doubtful(limit_s - 0.1)
        guard.see(heard, limit_s)
        assert guard.doubtful(limit_s)
        assert guard.dead(answered(limit_s, limit_s + 0.1), limit_s + 0.1)


# -- for any course of events ------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    pauses_s=st.lists(SECONDS, min_size=1, max_size=50),
    answer_s=st.floats(0, 60),
    strikes=st.integers(0, 20),
    costly=st.booleans(),
)
def test_whatever_moves_is_never_cut(pauses_s: list[float], answer_s: float, strikes: int, costly: bool) -> None:  # noqa: FBT001 - drawn
    """A byte within each second, be it one: no trial, whenever it began and was answered, makes it dead."""
    guard = guarding(SENDING, strikes=strikes, costly=costly)
    now_s = 0.0
    for number, pause_s in enumerate(pauses_s):
        for step in range(int(pause_s / TICK_S) + 1):
            at_s = now_s + step * TICK_S
            assert not guard.doubtful(at_s)
            assert not any(guard.dead(answered(began_s, at_s), at_s + 1e-9) for began_s in (0.0, now_s, at_s))
        now_s += pause_s
        guard.see(replace(SENDING, acked_bytes=2 + number, heard_ago_s=None, answer_s=answer_s), now_s)


@settings(deadline=None, max_examples=200)
@given(
    sample=st.sampled_from([SENDING, replace(SENDING, all_written=True), WAITING, Sample(connected=False)]),
    answer_s=st.floats(0, 30),
    round_trip_s=st.floats(0.001, 3),
    strikes=st.integers(0, 20),
)
def test_whatever_is_dead_is_cut_in_bounded_time(
    sample: Sample, answer_s: float, round_trip_s: float, strikes: int
) -> None:
    """Silence, and a fresh connection that is answered: dead within its time of silence, a round trip and the grace."""
    sample = replace(sample, answer_s=answer_s)
    guard = guarding(sample, strikes=strikes)
    bound_s = (
        max(60.0 if strikes else 2.5, 2 * answer_s)
        + round_trip_s
        + Trial.LONGEST_GRACE_S
        + PATIENCE.retry_soon_s
        + 3 * TICK_S
    )
    trial: Trial | None = None
    for tick in range(int(bound_s / TICK_S) + 2):
        now_s = tick * TICK_S
        guard.see(replace(sample, heard_ago_s=now_s if sample.connected else None), now_s)
        if trial is None and guard.doubtful(now_s):
            trial = Trial(now_s)
        if trial is not None and now_s - trial.began_s >= round_trip_s:
            trial.answered(now_s, round_trip_s)
        if trial is not None and guard.dead(trial, now_s):
            assert now_s <= bound_s
            return
    pytest.fail(f"alive after {bound_s} s")
