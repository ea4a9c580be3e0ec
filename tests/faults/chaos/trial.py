"""One seed tried out, from an empty folder to its outcome."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.chaos.course import Course
from tests.faults.chaos.elements import Elements
from tests.faults.chaos.judge import Complaint, again, allowed, judged
from tests.faults.chaos.ledger import Outcome
from tests.faults.chaos.scenario import draw
from tests.faults.proxy import FaultProxy
from tests.faults.service import Service

if TYPE_CHECKING:
    from tests.faults.chaos.scenario import Scenario

# The service's own limits have their own tests; here they would only make everything wait.
_OPTIONS: Final = ("--no-transcriber", "--uploads-per-minute", "100000", "--status-interval", "0.1")
_PIECE_BYTES: Final = 1 << 20


def try_out(seed: int, keep: Path) -> Outcome:
    """Drive the scenario of a seed and judge it. What failed is kept in a folder of `keep`, logs included."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs in a background hands its deafness down
    scenario, began_s = draw(seed), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    try:
        course, complaints = _driven(scenario, folder)
        outcome = _outcome(scenario, course, complaints, time.monotonic() - began_s)
        if complaints:
            _keep(course, outcome, folder, keep / str(seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _driven(scenario: Scenario, folder: Path) -> tuple[Course, list[Complaint]]:
    recording = folder / "recordings" / "recording.wav"
    expected = recording if scenario.source == "file" else folder / "said"
    for path in (recording.parent, folder / "tmp"):
        path.mkdir()
    _write(expected, scenario)
    service = Service(folder / "service", _OPTIONS, host=_own_address())
    with service, FaultProxy(service.host, service.port) as proxy:
        if scenario.transcribed_after_s == 0:
            service.transcribe_at_once()
        course = Course(scenario, recording, expected, folder / "state", Elements(scenario, service, proxy))
        try:
            course.drive()
        except Exception:  # noqa: BLE001 - a scenario that cannot be driven to its end is a failed one
            return course, [Complaint("the scenario comes to its end", traceback.format_exc())]
        proxy.cut_all()
        return course, judged(course)


def _own_address() -> str:
    """Where nobody else listens: while a killed service is away, another scenario's could take its port."""
    if sys.platform != "linux":  # elsewhere only one loopback address is up
        return "127.0.0.1"
    pid = os.getpid()
    return f"127.{64 + (pid >> 16) % 64}.{(pid >> 8) % 256}.{pid % 256}"


def _write(path: Path, scenario: Scenario) -> None:
    chance, left_bytes = random.Random(f"{scenario.seed}:bytes"), scenario.size_bytes
    with path.open("wb") as file:
        while left_bytes:
            piece = chance.randbytes(min(left_bytes, _PIECE_BYTES))
            file.write(piece)
            left_bytes -= len(piece)


def _outcome(scenario: Scenario, course: Course, complaints: list[Complaint], seconds: float) -> Outcome:
    return Outcome(
        seed=scenario.seed,
        scenario=str(scenario),
        complaints=[str(complaint) for complaint in complaints],
        injected={what: times for what, times in course.elements.injected.items() if times},
        blows=[(run.blow, run.phase) for run in course.runs if run.blow],
        runs=len(course.runs),
        size_bytes=scenario.size_bytes,
        again_bytes=again(course) if course.runs else 0,
        allowed_bytes=allowed(course) if course.runs else 0,
        seconds=round(seconds, 2),
    )


def _keep(course: Course, outcome: Outcome, folder: Path, target: Path) -> None:
    """Leave what a person needs to understand a failure; not the bytes of the recording."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1))
    for number, run in enumerate(course.runs, start=1):
        lines = [f"{run.words} {run.blow} {run.phase} exit {run.code}, {run.up_bytes} up, {run.allowed_bytes} allowed"]
        lines += [json.dumps(event) for event in run.events]
        (target / f"run-{number}.log").write_text("\n".join([*lines, "", *run.complaints, run.printed]))
    shutil.copyfile(folder / "service" / "service.log", target / "service.log")
    shutil.copytree(folder / "state", target / "state", dirs_exist_ok=True)
