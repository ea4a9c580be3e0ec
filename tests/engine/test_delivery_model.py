"""The whole client against a service that loses, damages, refuses and kills as Hypothesis likes.

A run of the program starts from the manifest alone and ends by itself, with an error, or by a kill at any request. What
the server holds is checked after every run; what the client believes is checked at the end, when everything works.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from engine import pipeline
from engine.choosing import Manner
from engine.core import plan as planning
from engine.core.retry import RetryPolicy
from engine.errors import AmbiguousUpload, SpeechStreamError
from engine.model import ArtifactRecord, JobState
from engine.runtime.crew import Crew
from engine.runtime.exchange import Exchanger
from engine.runtime.line import trust
from engine.runtime.manifest import Manifest
from engine.runtime.turns import Turns
from engine.stages.attempt import Wishes
from tests.engine.speech_server import SpeechServer
from tests.engine.tus_server import JOINING, Killed
from tests.engine.world import JOB, Events, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.events import Event
    from engine.model import JobRecord

PIPED: Final = replace(JOB, identity=replace(JOB.identity, fingerprint="pipe:of the model"))  # nothing was prepared
CONTENT: Final = random.Random(3).randbytes(10_500)
PART_BYTES: Final = 1_000
LANE_BYTES: Final = 2_000  # five lanes
KINDS: Final = ("OPTIONS", "POST", "HEAD", "PATCH", "JOIN", "SUBMIT", "SINGLE", "STATUS")
BLOWS: Final = ("unanswered", "cut", "killed", "500", "503", "423", "429", "404", "400", "409")
STRIKES: Final = st.tuples(st.sampled_from(KINDS), st.sampled_from(BLOWS))
MOST_HARMS: Final = 2  # a server that does more is given up for this run, and rightly
MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # so many runs need no disk


class Access:
    """A service that is known, with a key that is good."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    async def base_url(self, endpoint: str) -> str:
        """Where it is."""
        return endpoint

    async def turns(self, endpoint: str, manifest: Manifest, emit: Callable[[Event], None]) -> Turns:
        """Turns at it."""
        return Turns(manifest, self._clock, emit, endpoint)


class Delivery(RuleBasedStateMachine):
    """One recording, one service, and everything that may go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="speechstream-model-", dir=MEMORY))
        self.clock = FakeClock()
        self.told = Events()
        self.blows: list[tuple[str, str]] = []
        self.printed: set[str] = set()
        self.harms = 0

    def teardown(self) -> None:
        """Whatever happened before: on a good day it comes to its end."""
        try:
            self._end_well()
        finally:
            shutil.rmtree(self.folder)

    @initialize(
        wire=st.sampled_from(["tus", "single"]),
        lanes=st.sampled_from([1, 4]),
        keys=st.booleans(),
        forgets=st.booleans(),
        extensions=st.sampled_from([JOINING, "creation"]),
    )
    def begin(self, wire: str, lanes: int, keys: bool, forgets: bool, extensions: str) -> None:  # noqa: FBT001 - drawn
        """A recording whose artifact is ready."""
        self.server = SpeechServer(
            extensions=extensions, keys=keys, forgets=forgets, strike=self._strike, cut_bytes=700
        )
        self.manner = Manner(wire=wire, max_lanes=lanes)
        spool = self.folder / "jobs" / JOB.id / "spool"
        record = ArtifactRecord("artifact", len(CONTENT), "audio/ogg", "talk.ogg", "standard", is_source=False)
        with Manifest(self.folder) as manifest:
            manifest.find_or_add(PIPED, new=False)
            manifest.move(JOB.id, JobState.PREPARING)
            manifest.move(JOB.id, JobState.UPLOADING, artifact=record)
        spool.mkdir(parents=True)
        (spool / "artifact").write_bytes(CONTENT)

    @rule(
        harm=st.sampled_from(["lose", "rot", "shorten"]), which=st.integers(0, 19), place=st.integers(0, len(CONTENT))
    )
    def harm(self, harm: str, which: int, place: int) -> None:
        """The server forgets an upload, changes a byte of one on its disk, or loses the end of one."""
        names = sorted(name for name, upload in self.server.uploads.items() if upload.content)
        if not names or self.harms == MOST_HARMS:
            return
        self.harms += 1
        name = names[which % len(names)]
        content = self.server.uploads[name].content
        place %= len(content)
        if harm == "lose":
            del self.server.uploads[name]
        elif harm == "rot":
            content[place] ^= 1
        else:
            del content[place:]

    @rule(lanes=st.sampled_from([1, 2, 8]), blows=st.lists(STRIKES, max_size=4))
    def run(self, lanes: int, blows: list[tuple[str, str]]) -> None:
        """The program runs until it ends or is killed; the next requests of these kinds are struck."""
        self.blows = blows
        event(self._run(lanes))

    @invariant()
    def at_most_one_job_of_the_right_bytes(self) -> None:
        """The promise."""
        if hasattr(self, "server"):
            assert len(self.server.jobs) <= 1
            assert all(content == CONTENT for content in self.server.jobs.values())
            assert len(set(self.server.said)) <= 1, "one job has one key"
            assert self.server.whole_singles <= 1, "nobody asked for a repetition"
            assert len(self.printed) <= 1

    def _strike(self, _: int, kind: str) -> str | None:
        for index, (struck, blow) in enumerate(self.blows):
            if struck == kind:
                del self.blows[index]
                return blow
        return None

    def _run(self, lanes: int) -> str:
        wishes = Wishes(Manner(wire=self.manner.wire, max_lanes=lanes))
        try:
            done = anyio.run(self._once, wishes)
        except Killed:
            return "killed"
        except SpeechStreamError as error:
            return type(error).__name__
        assert done.state is JobState.COMPLETED
        self.printed.add(str(done.processing_id))
        return "completed"

    async def _once(self, wishes: Wishes) -> JobRecord:
        exchanger = Exchanger(self.clock, user_agent="test", transport=self.server)
        access: Any = Access(self.clock)
        try:
            with Manifest(self.folder, self.clock.wall) as manifest:
                crew = Crew(manifest, exchanger, access, self.clock, self.told.append, RetryPolicy())
                return await pipeline.run(manifest.job(JOB.id), crew, wishes)
        finally:
            await exchanger.aclose()

    def _end_well(self) -> None:
        if not hasattr(self, "server"):
            return
        self.blows.clear()
        ends = [self._run(4) for _ in range(4)]
        with Manifest(self.folder) as manifest:
            job = manifest.job(JOB.id)
        if job.state is JobState.AMBIGUOUS:
            assert ends[-1] == AmbiguousUpload.__name__
        elif job.state is not JobState.FAILED:
            assert ends[-1] == "completed", ends
            assert self.printed == set(self.server.jobs)
        self.at_most_one_job_of_the_right_bytes()


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=300 if os.environ.get("SPEECHSTREAM_FULL") else 25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True, scope="module")
def small_and_quick() -> Iterator[None]:
    """Parts and lanes of a size that so many runs can afford; certificates, which no run uses, are loaded once."""
    context = trust()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "PART_SIZE_BYTES", PART_BYTES)
        patch.setattr(planning, "LEAST_LANE_BYTES", LANE_BYTES)
        patch.setattr("engine.runtime.line.trust", lambda: context)
        yield
