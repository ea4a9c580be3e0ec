"""A lane against a server that may do almost anything.

The server here keeps true bytes and strays in every way that is known of real ones: it keeps part of what it refuses,
loses what it acknowledged, forgets uploads, moves finished ones away, and says offsets that are not so. What it says
is only believed by `core.lane`; what it holds is checked here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from engine.core import lane as policy
from engine.core.lane import MAX_LOSSES, Append, Await, Create, Finished, LaneState, Locate
from engine.errors import GaveUp, ServiceError, SpeechStreamError
from engine.faults import (
    Busy,
    Conflict,
    Corrupted,
    Fault,
    Gone,
    Interrupted,
    Nonsense,
    NoSpace,
    Refused,
    ServerTrouble,
    TooLarge,
    Unauthorized,
)
from engine.model import Lane, Span, Standing
from engine.redaction import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from engine.core.lane import Step

ARTIFACT: Final = bytes(range(40))
BUDGET_FAULTS: Final = 30  # stands for the time budget: faults in a row without an acknowledged byte
MAX_SUBMISSIONS: Final = 4
MOST_STEPS: Final = 2_000  # the longest runs that end take a few hundred

Mood: TypeAlias = tuple[str, int]
Faulty: TypeAlias = "Callable[[], Fault]"

HONEST: Final[Mood] = ("honest", 0)
FAULTS: Final[dict[str, Faulty]] = {
    "cut": lambda: Interrupted("cut"),
    "busy": lambda: Busy("423"),
    "trouble": lambda: ServerTrouble("500"),
    "nonsense": lambda: Nonsense("a portal's page"),
    "conflict": lambda: Conflict("409"),
    "corrupted": lambda: Corrupted("460"),
    "too large": lambda: TooLarge("413"),
    "refused": lambda: Refused("400", 400),
    "wrong type": lambda: Refused("415", 415),
    "not found": lambda: Gone("404"),
    "no key": lambda: Unauthorized("401"),
    "full": lambda: NoSpace("507"),
}
STRAYING: Final = (
    *("keeps some", "keeps none", "says more", "says less", "odd length"),
    *("moves away", "forgets", "loses", "restarts"),
)
MOODS = st.tuples(st.sampled_from(("honest", *FAULTS, *STRAYING)), st.integers(0, 50))
MILD = st.tuples(
    st.sampled_from(("honest", "cut", "busy", "trouble", "nonsense", "keeps some", "restarts", "conflict")),
    st.integers(0, 50),
)


@dataclass
class Server:
    """Upload resources by URL, and what was finished and moved away."""

    uploads: dict[str, bytearray] = field(default_factory=dict)
    finished: list[bytes] = field(default_factory=list)
    made: int = 0

    def create(self, mood: Mood) -> Secret:
        """POST: whatever goes wrong afterwards, the resource exists."""
        self.made += 1
        url = f"https://files.example/{self.made}"
        self.uploads[url] = bytearray()
        self._fail(mood)
        return Secret(url)

    def head(self, url: Secret, mood: Mood, offered_bytes: int) -> Standing:
        """HEAD: the truth, or one of the lies that a client can see through."""
        held = self._held(url)
        self._fail(mood)
        match mood:
            case ("forgets", _):
                del self.uploads[url.reveal()]
                raise Gone("404")
            case ("loses", count):
                del held[max(0, len(held) - count) :]
            case ("restarts", count):
                del held[max(0, len(held) - count) :]
                raise Interrupted("cut")
            case ("says more", count):
                return Standing(offered_bytes + 1 + count, len(ARTIFACT))
            case ("odd length", count):
                return Standing(len(held), len(ARTIFACT) + 1 + count)
        return Standing(len(held), len(ARTIFACT))

    def patch(self, url: Secret, offset: int, payload: bytes, mood: Mood) -> Standing:
        """PATCH: only at the true offset, as every server insists."""
        held = self._held(url)
        if offset != len(held):
            raise Conflict(f"409: at {len(held)}")
        what, count = mood
        if what == "forgets":
            del self.uploads[url.reveal()]
            raise Gone("404")
        kept = {"keeps none": 0, "corrupted": 0, "keeps some": count}.get(what, len(payload))
        if what in FAULTS:
            kept = min(count, kept)
        held += payload[:kept]
        if what == "moves away" and len(held) == len(ARTIFACT):
            self.finished.append(bytes(self.uploads.pop(url.reveal())))
            raise Interrupted("cut")
        self._fail(mood)
        if what == "says more":
            return Standing(offset + len(payload) + 1 + count)
        if what == "says less":
            return Standing(max(0, offset - 1 - count))
        if what in {"loses", "restarts"}:
            del held[max(0, len(held) - count) :]
            if what == "restarts":
                raise Interrupted("cut")
            return Standing(offset + kept)
        return Standing(len(held))

    def submit(self, url: Secret | None) -> bool:
        """Whether the service would make a job of it."""
        held = b"" if url is None else bytes(self.uploads.get(url.reveal(), b""))
        return ARTIFACT in [held, *self.finished]

    def _held(self, url: Secret) -> bytearray:
        if url.reveal() not in self.uploads:
            raise Gone("404")
        return self.uploads[url.reveal()]

    @staticmethod
    def _fail(mood: Mood) -> None:
        if mood[0] in FAULTS:
            fault = FAULTS[mood[0]]
            raise fault()


class Killed(Exception):
    """The process ended between two steps."""


@dataclass
class Run:
    """One run of the program on one lane, driven as the runtime drives it, without its clock and disk."""

    server: Server
    moods: Iterator[Mood]
    sizes: Iterator[int]
    kills: set[int] = field(default_factory=set)
    lane: Lane = field(default_factory=lambda: Lane(0, Span(0, len(ARTIFACT))))
    faults_in_a_row: int = 0
    steps: int = 0

    def until_submitted(self) -> None:
        """Bring the lane to its end and submit it; go back to it while the service says that it is not there."""
        state = LaneState(self.lane)
        for _ in range(MAX_SUBMISSIONS):
            state = self._until_finished(state)
            if self.server.submit(state.lane.url):
                return
            state = policy.disproved(state) if state.presumed_complete else LaneState(state.lane)
        raise ServiceError("the service says that the upload is there, and that it is not")

    def one_step(self, state: LaneState) -> LaneState:
        """Perform what the policy decides next."""
        self.steps += 1
        assert self.steps < MOST_STEPS, "this never ends"
        if self.steps in self.kills:
            raise Killed
        step = policy.next_step(state, next(self.sizes))
        before = state
        try:
            state = self._perform(state, step, next(self.moods))
        except Fault as fault:
            state = policy.failed(state, step, fault)
            self.faults_in_a_row += 1
            if self.faults_in_a_row > BUDGET_FAULTS:
                raise GaveUp("no progress") from fault
        if state.furthest_bytes > before.furthest_bytes or state.lane.generation > before.lane.generation:
            self.faults_in_a_row = 0
        self.lane = state.lane
        assert state.losses <= MAX_LOSSES
        assert state.lane.acked_bytes <= state.lane.offered_bytes <= len(ARTIFACT)
        self._check_what_is_held()
        return state

    def _until_finished(self, state: LaneState) -> LaneState:
        while not isinstance(policy.next_step(state, 1), Finished):
            state = self.one_step(state)
        return state

    def _perform(self, state: LaneState, step: Step, mood: Mood) -> LaneState:
        match step:
            case Create():
                return policy.created(state, self.server.create(mood), None)
            case Locate():
                assert state.lane.url is not None
                standing = self.server.head(state.lane.url, mood, state.lane.offered_bytes)
                return policy.located(state, standing)
            case Append(span, offset_bytes):
                url = state.lane.url
                assert url is not None
                assert span.start == offset_bytes == state.lane.acked_bytes
                assert span.size_bytes > 0
                state = policy.offering(state, step)
                self.lane = state.lane  # the offer is committed before its first byte leaves
                payload = ARTIFACT[span.start : span.stop]
                standing = self.server.patch(url, offset_bytes, payload, mood)
                return policy.appended(state, step, standing)
            case Await() | Finished():
                raise AssertionError(f"{step} is not a step")

    def _check_what_is_held(self) -> None:
        for held in [*self.server.uploads.values(), *self.server.finished]:
            assert ARTIFACT.startswith(bytes(held)), "the server holds a byte that is not the recording's"


def then_honest(moods: Iterable[Mood]) -> Iterator[Mood]:
    return itertools.chain(moods, itertools.repeat(HONEST))


@settings(deadline=None, max_examples=250)
@given(moods=st.lists(MOODS, max_size=40), sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_whatever_the_server_does_for_a_while_the_bytes_are_right_or_an_error_says_why(
    moods: list[Mood], sizes: list[int]
) -> None:
    """After any bad stretch an honest server ends up with exactly the artifact, unless the run ended with an error."""
    server = Server()
    run = Run(server, then_honest(moods), itertools.cycle(sizes))
    try:
        run.until_submitted()
    except SpeechStreamError as error:
        event(error.kind)
        return
    event("delivered")
    assert server.submit(run.lane.url)


@settings(deadline=None, max_examples=250)
@given(moods=st.lists(MOODS, min_size=1, max_size=6), sizes=st.lists(st.integers(1, 50), min_size=1, max_size=3))
def test_no_server_can_keep_a_lane_busy_for_ever(moods: list[Mood], sizes: list[int]) -> None:
    """A server that repeats the same misbehaviour without end is either got past or given up."""
    run = Run(Server(), itertools.cycle(moods), itertools.cycle(sizes))
    try:
        run.until_submitted()
    except SpeechStreamError as error:
        event(error.kind)


@settings(deadline=None, max_examples=200)
@given(
    moods=st.lists(MILD, max_size=25),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    kills=st.sets(st.integers(1, 60), max_size=10),
)
def test_kills_and_ordinary_trouble_only_cost_time(moods: list[Mood], sizes: list[int], kills: set[int]) -> None:
    """Nothing that a bad link or a restarting server does ends an upload, wherever the client is killed meanwhile."""
    server = Server()
    run = Run(server, then_honest(moods), itertools.cycle(sizes), kills)
    for _ in range(len(kills) + 1):
        try:
            run.until_submitted()
        except Killed:
            continue
        break
    assert server.submit(run.lane.url)


def test_success_without_progress_is_not_believed_for_ever() -> None:
    """A server that answers every append with 204 and keeps nothing is given up after a few."""
    run = Run(Server(), itertools.cycle([HONEST, ("keeps none", 0)]), itertools.repeat(10))
    with pytest.raises(ServiceError, match="keeps none of it"):
        run.until_submitted()
    assert run.steps < 20


def test_a_server_that_forgets_every_upload_is_given_up() -> None:
    """Three resources are made in one run, and not a fourth."""
    run = Run(Server(), itertools.cycle([HONEST, HONEST, ("forgets", 0)]), itertools.repeat(10))
    with pytest.raises(ServiceError, match="lost the upload 3 times"):
        run.until_submitted()
    assert run.lane.generation == MAX_LOSSES + 1
