"""Drives one scenario: the real command, again and again, over a bad link to the real service."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.chaos.recorder import Recorder
from tests.faults.chaos.scenario import Life
from tests.faults.chaos.watching import Deed, Watch
from tests.faults.command import Command, environment
from tests.faults.connection import STORMED
from tests.faults.plan import Plan

if TYPE_CHECKING:
    from tests.faults.chaos.scenario import Edit, Restart, Scenario
    from tests.faults.chaos.weather import Spell
    from tests.faults.connection import Connection
    from tests.faults.proxy import FaultProxy
    from tests.faults.service import Service

_STALE_S: Final = 1.5  # after a rebinding the dead connections are reset: a middlebox forgets nobody for ever
_STARTING_S: Final = 2.0  # of the service, on a busy machine
_CALM_LIVES: Final = 4  # after the disturbed ones; the first should do
_SETTLED_GLANCES: Final = 5
_EDIT_BYTES: Final = 1000
_IDLE_S: Final = 3.0  # far more than the recorder ever pauses
_STORM_S: Final = 0.1  # the oldest that a connection gets in one
_HALF: Final = 0.5
_IN_FLIGHT_BYTES: Final = 4 << 20  # what the buffers of two sockets and a proxy can hold when a connection dies
_REQUEST_BYTES: Final = 1 << 10  # a head, or a body that is not the recording's
_IGNORING_SIGINT: Final = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_URL_ID: Final = re.compile(rb"/v1/uploads/([A-Za-z0-9_-]{20,})")


@dataclass(frozen=True, slots=True)
class Run:
    """How one run of the command went.

    Attributes:
        words: its arguments.
        blow: the signal that hit it, if one did.
        phase: what it was doing when it was hit.
        code: its exit code.
        printed: its stdout.
        events: what it told of its progress.
        complaints: the rest of its stderr.
        up_bytes: what it sent, headers included.
        allowed_bytes: how much of that may have been for nothing, by what befell its connections, headers included.
        peak_kib: its largest resident set.
        hung: it made no sign for too long and was killed; stacks are among its complaints.
    """

    words: tuple[str, ...]
    blow: str
    phase: str
    code: int
    printed: str
    events: tuple[dict[str, object], ...]
    complaints: tuple[str, ...]
    up_bytes: int
    allowed_bytes: int
    peak_kib: int
    hung: bool

    @property
    def error(self) -> dict[str, object]:
        """What it told at its end, with `--json`, of why it could not do its work."""
        for line in reversed(self.complaints):
            if line.startswith('{"error": '):
                told: dict[str, object] = json.loads(line)
                return told
        return {}

    @property
    def is_ambiguous(self) -> bool:
        """Whether it asked a person whether the service has a job."""
        return self.error.get("error") == "AmbiguousUpload"

    @property
    def found_it_shrunk(self) -> bool:
        """Whether it refused a recording that has become shorter, and left it to a person what to do."""
        return self.error.get("error") == "RecordingChanged"

    @property
    def came_to_nothing(self) -> bool:
        """Whether it took up a pipe that had been killed before anything had come through it."""
        return str(self.error.get("message", "")).startswith("Nothing came in")


@dataclass(slots=True)
class Course:
    """One recording's way to the service under everything its scenario holds.

    Attributes:
        recording: what the command is given, if that is a file.
        expected: a file that holds what has to arrive.
        runs: every run of the command so far; the last one repeats a finished work.
        injected: what was done, by name.
        secrets: ids of uploads, which only their owner may know.
        found_by_a_person: the job of an ambiguous upload, found where the program tells the user to look.
    """

    scenario: Scenario
    recording: Path
    expected: Path
    state: Path
    service: Service
    proxy: FaultProxy
    runs: list[Run] = field(default_factory=list)
    injected: dict[str, int] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    found_by_a_person: str | None = None
    left_bytes: int = 0
    _recorder: Recorder = field(init=False)
    _dead_until_s: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)
    _known_connections: int = 0

    def __post_init__(self) -> None:
        self._recorder = Recorder(self.expected, self.scenario.spoken_s)

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
                self._edit(life.edit)
        if not self.runs[-1].hung:
            self._live(calm)

    def _is_done(self, run: Run) -> bool:
        if run.is_ambiguous:
            time.sleep(_HALF)  # a request that was under way may still arrive
            self.found_by_a_person = next(iter(self.service.jobs()), None)
            return self.found_by_a_person is not None
        speaks_again = run.came_to_nothing and self.scenario.size_bytes > 0
        return run.code in {0, 1} and not speaks_again and not run.found_it_shrunk

    # -- one life --------------------------------------------------------------------------------

    def _live(self, life: Life) -> Run:
        self.proxy.plan = life.plan
        self.left_bytes = self.expected.stat().st_size - self._acked_bytes()
        with self._command(life) as command:
            if isinstance(command.process.stdin, io.TextIOWrapper):
                self._recorder.into_pipe(command.process.stdin.buffer)
            watch = Watch(self, command, life)
            watch.to_the_end()
            code, printed = command.finish()
        self._let_go()
        if self.scenario.source == "pipe":
            self._keep_what_came()
        up_bytes, allowed_bytes = self._take_in(life)
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
        self.count("clock jump", len(jumps))
        ignoring = _IGNORING_SIGINT if self.scenario.background else ()
        program = (*ignoring, sys.executable, _LAUNCHER, json.dumps(jumps))
        endpoint = f"http://127.0.0.1:{self.proxy.port}/v1"
        given = environment(self.state, endpoint) | {"TMPDIR": str(self.state.parent / "tmp")}
        arguments = (*words, "--json", "--progress", "json")
        return Command(arguments, given, program, listens="-" in words)

    def _words(self) -> list[str]:
        """What a person types who wants the work done, knowing how the last run went."""
        scenario, last = self.scenario, self.runs[-1] if self.runs else None
        if last is not None and last.is_ambiguous and self.found_by_a_person is None:
            return ["resume", _job_of(last), "--on-ambiguous", "retry"]
        if scenario.source == "pipe" and self._known_job():
            return ["resume", self._known_job()]
        words = [scenario.command, "-" if scenario.source == "pipe" else str(self.recording)]
        if scenario.command == "send":
            words += ["--to", f"http://127.0.0.1:{self.proxy.port}/v1/uploads"]
        else:
            words += ["--recipe", "as-is", "--wire", scenario.wire]
        if scenario.source == "followed":
            words += ["--follow", "--idle", f"{_IDLE_S:.0f}s"]
        if last is not None and last.found_it_shrunk:
            words += ["--new"]
        return [*words, "--lanes", str(scenario.lanes), *["--checksum"] * scenario.checksum]

    def _known_job(self) -> str:
        """The job that a run has told of, if one has and it is not over."""
        known = ""
        for run in self.runs:
            known = "" if run.came_to_nothing else known or _job_of(run)
        return known

    def _keep_what_came(self) -> None:
        """What a pipe brought until it broke off is the recording from then on: nobody says it again."""
        for came in self.state.glob("jobs/*/spool/input"):
            if came.stat().st_size:
                shutil.copyfile(came, self.expected)

    def _acked_bytes(self) -> int:
        told = [event for run in self.runs for event in run.events if event["event"] == "uploaded"]
        return int(str(told[-1]["acked_bytes"])) if told else 0

    def _let_go(self) -> None:
        """Bring everything that was begun to its end, and wait for what is still on its way to arrive."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if random.Random(f"{self.scenario.seed}:late {len(self.runs)}").random() < _HALF:
            self.proxy.cut_all()  # else what was held arrives late
        self.proxy.restore_all()
        self.proxy.plan = Plan(otherwise=self.scenario.link)
        seen: list[tuple[int, int]] = []
        while len(seen) < _SETTLED_GLANCES or len(set(seen[-_SETTLED_GLANCES:])) > 1:
            time.sleep(0.02)
            seen.append((self.service.held_bytes(), self.proxy.bytes_up))

    def _take_in(self, life: Life) -> tuple[int, int]:
        """Note what befell the connections of a life; returns what was sent over them, and what may be lost of it."""
        fresh = self.proxy.connections[self._known_connections :]
        self._known_connections = len(self.proxy.connections)
        for connection in fresh:
            for what in connection.suffered:
                self.count(what)
            self.secrets |= {found.decode() for found in _URL_ID.findall(bytes(connection.answers))}
        self.count("stutter", len(fresh) * (life.plan.otherwise.stutter_s is not None))
        self.count("replay", len(fresh) * (life.plan.otherwise.replay_after_s is not None))
        sent = [(connection.up.received_bytes, self._may_be_lost(connection)) for connection in fresh]
        return sum(up_bytes for up_bytes, _ in sent), sum(lost_bytes for _, lost_bytes in sent)

    def _may_be_lost(self, connection: Connection) -> int:
        """How much of what a client sent over a connection may have been for nothing."""
        answers = bytes(connection.answers).count(b"HTTP/1.1 ")
        heads_bytes = (answers + 2) * _REQUEST_BYTES
        if not connection.hurt:
            return heads_bytes
        if self.scenario.repeats_whole:
            return heads_bytes + connection.up.received_bytes
        swallowed_bytes = connection.up.received_bytes - connection.up.forwarded_bytes
        return heads_bytes + swallowed_bytes + min(connection.up.forwarded_bytes, _IN_FLIGHT_BYTES)

    # -- what is done to it ----------------------------------------------------------------------

    def count(self, what: str, times: int = 1) -> None:
        """Note that something was done."""
        if times:
            self.injected[what] = self.injected.get(what, 0) + times

    def transcribe(self) -> None:
        """Be the transcriber."""
        if self.scenario.transcribed_after_s:
            self.service.transcribe_older_than(self.scenario.transcribed_after_s)

    def begin(self, spell: Spell, life: Life) -> Deed | None:
        """Let a spell come over the link; returns what ends it."""
        self.count(spell.kind)
        link = self.scenario.link
        match spell.kind:
            case "reset":
                self.proxy.cut_all()
                return None
            case "storm":
                self.proxy.plan = Plan(otherwise=replace(link, cut_within_s=_STORM_S), seed=life.plan.seed)
            case _:
                # Each ends by itself: whoever connects in the last moment would otherwise be forgotten in it.
                hole = replace(link, black_hole_after_bytes=0, black_hole_for_s=spell.lasts_s)
                self.proxy.plan = Plan(otherwise=hole)
                self.proxy.black_hole_all()
        ends_s = time.monotonic() + spell.lasts_s
        self._dead_until_s = ends_s + _STALE_S * (spell.kind == "rebinding")
        return Deed(ends_s, lambda: self._end(spell, life))

    def _end(self, spell: Spell, life: Life) -> None:
        self.proxy.plan = self._rest_of(life.plan)
        if spell.kind == "rebinding":
            stale = [connection for connection in self.proxy.connections if not connection.ended]
            forget = threading.Timer(_STALE_S, self.proxy.cut_all, kwargs={"which": stale})
            forget.start()
            self._threads.append(forget)
        elif spell.kind == "outage":
            self.proxy.restore_all()

    def _rest_of(self, plan: Plan) -> Plan:
        """The plan with as many breaks as it has left: a spell in between gives it no new ones."""
        if plan.at_most is None:
            return plan
        fresh = self.proxy.connections[self._known_connections :]
        spent = sum(what != STORMED for connection in fresh for what in connection.suffered)
        return replace(plan, at_most=max(0, plan.at_most - spent))

    def restart(self, restart: Restart) -> None:
        """Have the service ended and started again in a thread, while others look on."""

        def again() -> None:
            self.service.kill(signal.Signals[restart.signal])
            time.sleep(restart.down_s)
            self.service.start()

        self.count(f"service {restart.signal}")
        self.hurt_all()
        self._dead_until_s = time.monotonic() + restart.down_s + _STARTING_S
        thread = threading.Thread(target=again)
        thread.start()
        self._threads.append(thread)

    def hurt_all(self) -> None:
        """Whatever is open now may lose what is under way."""
        for connection in self.proxy.connections:
            connection.hurt = connection.hurt or not connection.ended

    @property
    def is_link_dead(self) -> bool:
        """Whether nobody can expect progress just now."""
        return time.monotonic() < self._dead_until_s

    def _edit(self, edit: Edit) -> None:
        self.count(f"recording {edit}")
        path, chance = self.recording, random.Random(f"{self.scenario.seed}:edited bytes")
        size_bytes = path.stat().st_size
        match edit:
            case "moved":
                self.recording = self.expected = path.with_name(f"moved {path.name}")
                path.rename(self.recording)
            case "touched":
                path.touch()
            case "grown":
                with path.open("ab") as file:
                    file.write(chance.randbytes(_EDIT_BYTES))
            case "shrunk":
                with path.open("r+b") as file:
                    file.truncate(max(1, size_bytes - _EDIT_BYTES))
            case "in place":
                with path.open("r+b") as file:
                    file.seek(chance.randrange(max(1, size_bytes - _EDIT_BYTES)))
                    file.write(chance.randbytes(min(_EDIT_BYTES, size_bytes)))


def _job_of(run: Run) -> str:
    return next((str(event["job_id"]) for event in reversed(run.events) if event.get("job_id")), "")
