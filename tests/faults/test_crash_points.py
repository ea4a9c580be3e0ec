from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import anyio.lowlevel
import pytest

import engine.core.plan
from engine import Client
from engine.model import JobState
from engine.runtime.manifest import Manifest
from tests.faults.command import Command, environment
from tests.faults.scripted import TEXT, Moment, ScriptedService, Strike
from tests.faults.service import KEY

if TYPE_CHECKING:
    from pathlib import Path

BEFORE, MID_BODY, LOST, TRUNCATED = Moment
# What an undisturbed run asks for; its bodies show which requests can be hit in mid-body.
IN_PROCESS = (
    *("OPTIONS /v1/uploads", "POST /v1/uploads", "PATCH /v1/uploads/{id}", "PATCH /v1/uploads/{id}"),
    *("POST /v1/upload", "GET /v1/status", "GET /v1/status"),
)
BY_COMMAND = IN_PROCESS[:-1]
# Without it the cases that differ least from others are left out: to one who dies a torn answer is a lost one.
FULL = bool(os.environ.get("SPEECHSTREAM_FULL"))
WITH_BODY = {"PATCH /v1/uploads/{id}", "POST /v1/upload"}


def points(requests: tuple[str, ...]) -> list[tuple[int, Moment]]:
    """Every request with every moment it has."""
    return [
        (number, moment)
        for number, route in enumerate(requests, start=1)
        for moment in Moment
        if moment is not MID_BODY or route in WITH_BODY
    ]


def uploads_made(request_number: int, moment: Moment, blows: int = 1) -> int:
    """How many uploads the server has in the end: only a creation whose answer was lost leaves one behind."""
    lost = IN_PROCESS[request_number - 1] == "POST /v1/uploads" and moment in {LOST, TRUNCATED}
    return 1 + lost * blows


class QuickClock:
    """Real time, plus all that was slept: a sleep takes no time and still counts."""

    def __init__(self) -> None:
        self._slept_s = 0.0

    def wall(self) -> float:
        return time.time() + self._slept_s

    def monotonic(self) -> float:
        return time.monotonic() + self._slept_s

    def chance(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        self._slept_s += seconds
        await anyio.lowlevel.checkpoint()


def make_recording(folder: Path, size_bytes: int) -> Path:
    path = folder / "recording.bin"
    path.write_bytes(random.Random(size_bytes).randbytes(size_bytes))
    return path


def wait_out_the_limits(state: Path) -> None:
    """Make the calls that the client remembers for its pacing a minute older."""
    with closing(sqlite3.connect(state / "manifest.db")) as manifest, manifest:
        manifest.execute("UPDATE pace SET at = at - 60")


def state_of(state: Path) -> list[JobState]:
    with Manifest(state) as manifest:
        return [job.state for job in manifest.jobs()]


async def transcribed(service: ScriptedService, recording: Path, state: Path) -> tuple[str, str]:
    """The id and text that one client brings home, in one life."""
    async with Client(
        endpoint=service.endpoint, api_key=KEY, state_dir=state, recipe="as-is", clock=QuickClock()
    ) as client:
        transcript = await client.transcribe(recording)
    return transcript.processing_id, transcript.text


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that begin and end inside requests."""
    monkeypatch.setattr(engine.core.plan, "PART_SIZE_BYTES", 300_000)


@pytest.mark.anyio
async def test_the_points_are_all_there(tmp_path: Path, small_parts: None) -> None:
    """An undisturbed run in process makes the requests that the next test cuts."""
    recording = make_recording(tmp_path, 2_500_000)
    with ScriptedService(polls=1) as service:
        await transcribed(service, recording, tmp_path / "state")

    assert tuple(service.requests) == IN_PROCESS


@pytest.mark.anyio
@pytest.mark.parametrize("blows", [1, 3] if FULL else [1])
@pytest.mark.parametrize(("request_number", "moment"), points(IN_PROCESS))
async def test_a_cut_costs_nothing(
    tmp_path: Path, small_parts: None, request_number: int, moment: Moment, blows: int
) -> None:
    """Wherever the server cuts, once or three times running, the same client ends with one job of the right bytes."""
    recording = make_recording(tmp_path, 2_500_000)
    with ScriptedService(Strike(request_number, moment, blows), polls=1) as service:
        brought = await transcribed(service, recording, tmp_path / "state")

    assert service.jobs == {"job-1": recording.read_bytes()}
    assert len(service.uploads) == uploads_made(request_number, moment, blows)
    assert brought == ("job-1", TEXT)


class Shell:
    """Runs the command on one recording, as somebody would type it."""

    def __init__(self, service: ScriptedService, folder: Path, size_bytes: int, wire: str) -> None:
        self.service = service
        self.state = folder / "state"
        self.recording = make_recording(folder, size_bytes)
        self._wire = wire

    def transcribe(self, *, killed: bool = False) -> tuple[int, str]:
        """Transcribe; with `killed` the server kills the command when its script strikes."""
        return self._run("transcribe", str(self.recording), "--recipe", "as-is", "--wire", self._wire, killed=killed)

    def resume(self, *words: str) -> tuple[int, str]:
        return self._run("resume", *words, killed=False)

    def _run(self, *words: str, killed: bool) -> tuple[int, str]:
        with Command((*words, "--json"), environment(self.state, self.service.endpoint)) as command:
            if killed:
                self.service.on_strike = command.kill_now
            return command.finish()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What the command asks a service for when nothing happens."""
    with ScriptedService() as service:
        Shell(service, tmp_path_factory.mktemp("undisturbed"), 3_000_000, "auto").transcribe()
    return tuple(service.requests)


@pytest.mark.parametrize(
    ("request_number", "moment"), [at for at in points(BY_COMMAND) if FULL or at[1] is not TRUNCATED]
)
def test_a_kill_costs_nothing(
    tmp_path: Path, undisturbed: tuple[str, ...], request_number: int, moment: Moment
) -> None:
    """Wherever SIGKILL hits the command, running it again ends with one job of the right bytes and prints its id."""
    assert undisturbed == BY_COMMAND
    with ScriptedService(Strike(request_number, moment)) as service:
        shell = Shell(service, tmp_path, 3_000_000, "auto")
        assert shell.transcribe(killed=True)[0] == -9
        wait_out_the_limits(shell.state)
        code, printed = shell.transcribe()

    assert code == 0
    assert service.jobs == {"job-1": shell.recording.read_bytes()}
    assert len(service.uploads) == uploads_made(request_number, moment)
    assert '"processing_id": "job-1"' in printed


@pytest.mark.parametrize("killed", [False, True])
def test_a_single_request_that_did_not_arrive_goes_again(tmp_path: Path, *, killed: bool) -> None:
    """Cut in its body, by the server or by SIGKILL, the one request made no job, so it is repeated unasked."""
    with ScriptedService(Strike(1, MID_BODY)) as service:
        shell = Shell(service, tmp_path, 12_000_000, "single")
        if killed:
            assert shell.transcribe(killed=True)[0] == -9
        code, printed = shell.transcribe()

    assert code == 0
    assert service.jobs == {"job-1": shell.recording.read_bytes()}
    assert '"processing_id": "job-1"' in printed


@pytest.mark.parametrize(("moment", "killed"), [(LOST, False), (LOST, True), (TRUNCATED, False)])
def test_a_single_request_without_an_answer_asks_a_person(tmp_path: Path, moment: Moment, *, killed: bool) -> None:
    """A request that arrived and was not answered may have made a job: nothing more is sent until a person says so."""
    with ScriptedService(Strike(1, moment)) as service:
        shell = Shell(service, tmp_path, 3_000_000, "single")
        assert shell.transcribe(killed=killed)[0] == (-9 if killed else 75)
        assert shell.transcribe() == (75, "")
        assert state_of(shell.state) == [JobState.AMBIGUOUS]
        assert service.requests == ["POST /v1/upload"]

        code, printed = shell.resume("--on-ambiguous", "retry")

    assert code == 0
    assert '"processing_id": "job-2"' in printed
    assert set(service.jobs.values()) == {shell.recording.read_bytes()}
    assert state_of(shell.state) == [JobState.COMPLETED]
