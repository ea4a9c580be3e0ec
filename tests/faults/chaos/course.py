"""Drives one scenario: the real command, again and again, over a bad link to the real service."""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.chaos.edits import edit
from tests.faults.chaos.recorder import Recorder
from tests.faults.chaos.run import Run
from tests.faults.chaos.scenario import Life
from tests.faults.chaos.watching import Watch
from tests.faults.command import Command, environment
from tests.faults.plan import Plan
from tests.faults.recording import sha256_of

if TYPE_CHECKING:
    from tests.faults.chaos.elements import Elements
    from tests.faults.chaos.scenario import Scenario
    from tests.faults.service import Service

_CALM_LIVES: Final = 4  # after the disturbed ones; the first should do
_IDLE_S: Final = 3.0  # far more than the recorder ever pauses
_ARRIVING_S: Final = 0.5  # for a request whose sender has given up
_LATE_SHARE: Final = 0.5  # of the lives after which what was held up still arrives
_IGNORING_SIGINT: Final = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
_LAUNCHER: Final = Path(__file__).with_name("launcher.py")


@dataclass(slots=True)
class Course:
    """One recording's way to the service under everything its scenario holds.

    Attributes:
        recording: what the command is given, if that is a file.
        expected: a file that holds what has to arrive.
        runs: every run of the command so far; the last one repeats a finished work.
        left_bytes: how much of it the service has not acknowledged, as far as was told before the run under way.
        found_by_a_person: the job of an ambiguous upload, found where the program tells the user to look.
    """

    scenario: Scenario
    recording: Path
    expected: Path
    state: Path
    elements: Elements
    runs: list[Run] = field(default_factory=list)
    found_by_a_person: str | None = None
    left_bytes: int = 0
    _recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self._recorder = Recorder(self.expected, self.scenario.spoken_s)

    @property
    def service(self) -> Service:
        """Who has the recording in the end."""
        return self.elements.service

    def drive(self) -> None:
        """Run the command through all its lives, then in calm, until its work is done; then once more."""
        if self.scenario.source == "followed":
            self._recorder.into_file(self.recording, header_last=self.scenario.seed % 2 == 0)
        try:
            self._drive()
        finally:
            self._recorder.join()

    def _drive(self) -> None:
        calm = Life(Plan(otherwise=self.scenario.link))
        for life in (*self.scenario.lives, *[calm] * _CALM_LIVES):
            run = self._live(life)
            if run.hung or self._is_done(run):
                break
            if life.edit is not None:
                self.elements.injected[f"recording {life.edit}"] += 1
                chance = random.Random(f"{self.scenario.seed}:edited bytes")
                self.recording = self.expected = edit(self.recording, life.edit, chance)
        if not self.runs[-1].hung:
            self._live(calm)

    def _is_done(self, run: Run) -> bool:
        if run.is_ambiguous:
            time.sleep(_ARRIVING_S)
            # Not just any job: one of an older state of an edited recording is not what the person is looking for.
            wanted = sha256_of(self.expected)
            kept = self.service.recordings()
            same = (job for job in self.service.jobs() if job in kept and sha256_of(kept[job]) == wanted)
            self.found_by_a_person = next(same, None)
            return self.found_by_a_person is not None
        speaks_again = run.came_to_nothing and self.scenario.size_bytes > 0
        return run.code in {0, 1} and not speaks_again and not run.found_it_shrunk

    # -- one life --------------------------------------------------------------------------------

    def _live(self, life: Life) -> Run:
        self.elements.proxy.plan = life.plan
        self.left_bytes = self.expected.stat().st_size - self._acked_bytes()
        with self._command(life) as command:
            if isinstance(command.process.stdin, io.TextIOWrapper):
                self._recorder.into_pipe(command.process.stdin.buffer)
            watch = Watch(self, command, life)
            watch.to_the_end()
            code, printed = command.finish()
        chance = random.Random(f"{self.scenario.seed}:late {len(self.runs)}")
        self.elements.calm_down(late=chance.random() < _LATE_SHARE)
        if self.scenario.source == "pipe":
            self._keep_what_came()
        up_bytes, allowed_bytes = self.elements.take_stock(life)
        run = Run(
            words=command.arguments,
            blow=watch.blow,
            phase=watch.phase,
            code=code,
            printed=printed.strip(),
            events=tuple(command.events),
            complaints=tuple(command.complaints),
            up_bytes=up_bytes,
            allowed_bytes=allowed_bytes,
            peak_kib=command.peak_kib,
            hung=watch.hung,
        )
        self.runs.append(run)
        return run

    def _command(self, life: Life) -> Command:
        words = self._words()
        jumps = [[jump.at_s, jump.wall_s, jump.boot_s] for jump in life.jumps]
        self.elements.injected["clock jump"] += len(jumps)
        ignoring = _IGNORING_SIGINT if self.scenario.background else ()
        program = (*ignoring, sys.executable, _LAUNCHER, json.dumps(jumps))
        given = environment(self.state, self._endpoint) | {"TMPDIR": str(self.state.parent / "tmp")}
        arguments = (*words, "--json", "--progress", "json")
        return Command(arguments, given, program, listens="-" in words)

    @property
    def _endpoint(self) -> str:
        return f"http://127.0.0.1:{self.elements.proxy.port}/v1"

    def _words(self) -> list[str]:
        """What a person types who wants the work done, knowing how the last run went."""
        scenario, last = self.scenario, self.runs[-1] if self.runs else None
        if last is not None and last.is_ambiguous and self.found_by_a_person is None:
            return ["resume", last.job_id, "--on-ambiguous", "retry"]
        if scenario.source == "pipe" and self._known_job():
            return ["resume", self._known_job()]
        words = [scenario.command, "-" if scenario.source == "pipe" else str(self.recording)]
        if scenario.command == "send":
            words += ["--to", f"{self._endpoint}/uploads"]
        else:
            words += ["--recipe", "as-is", "--wire", scenario.wire]
        if scenario.source == "followed":
            words += ["--follow", "--idle", f"{_IDLE_S:.0f}s"]
        if last is not None and last.found_it_shrunk:
            words += ["--new"]
        return [*words, "--max-lanes", str(scenario.lanes), *["--checksum"] * scenario.checksum]

    def _known_job(self) -> str:
        """The job that a run has told of, if one has and it is not over."""
        known = ""
        for run in self.runs:
            known = "" if run.came_to_nothing else known or run.job_id
        return known

    def _keep_what_came(self) -> None:
        """What a pipe brought until it broke off is the recording from then on: nobody says it again."""
        for came in self.state.glob("jobs/*/spool/input"):
            if not self._recorder.has_said(came):
                raise RuntimeError("the spool holds what was never said")
            if came.stat().st_size:
                shutil.copyfile(came, self.expected)

    def _acked_bytes(self) -> int:
        told = [event for run in self.runs for event in run.events if event["event"] == "uploaded"]
        return int(str(told[-1]["acked_bytes"])) if told else 0
