"""The judge must be able to condemn: each demand is broken once, on purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import pytest

from tests.faults.chaos.course import Course
from tests.faults.chaos.elements import Elements
from tests.faults.chaos.judge import REPEAT_BYTES_MAX, judged
from tests.faults.chaos.run import Run
from tests.faults.chaos.scenario import Life, Scenario, draw
from tests.faults.plan import Fault, Plan
from tests.faults.service import KEY, Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.chaos.scenario import Edit
    from tests.faults.proxy import FaultProxy

CONTENT = b"what was said"
SECRET = "an-upload-nobody-else-may-know"
DONE = Run(
    words=("upload", "recording.wav"),
    blow="",
    phase="",
    code=0,
    printed=json.dumps({"job_id": "abc", "processing_id": "job-1"}),
    events=({"event": "submitted", "job_id": "abc", "processing_id": "job-1"},),
    complaints=(),
    up_bytes=len(CONTENT),
    allowed_bytes=0,
    peak_kib=50_000,
    hung=False,
)
REPEATED = replace(DONE, up_bytes=0)


@dataclass
class Received:
    """A service that holds what it is given."""

    data: Path
    held: dict[str, bytes] = field(default_factory=dict)

    def jobs(self) -> list[str]:
        return list(self.held)

    def recordings(self) -> dict[str, Path]:
        paths = {name: self.data / name for name in self.held}
        for name, path in paths.items():
            path.write_bytes(self.held[name])
        return paths


@dataclass
class Aftermath:
    """A scenario that went well, to be spoilt."""

    course: Course
    received: Received

    def complaints(self) -> str:
        return " | ".join(map(str, judged(self.course)))


@pytest.fixture
def aftermath(tmp_path: Path) -> Aftermath:
    """One upload, done and repeated, with nothing left behind."""
    for name in ("recordings", "state", "tmp", "data", "data/incoming"):
        (tmp_path / name).mkdir()
    recording = tmp_path / "recordings" / "recording.wav"
    recording.write_bytes(CONTENT)
    received = Received(tmp_path / "data", {"job-1": CONTENT})
    scenario = Scenario(
        seed=1,
        size_bytes=len(CONTENT),
        command="upload",
        source="file",
        spoken_s=0.0,
        wire="tus",
        lanes=4,
        checksum=False,
        background=False,
        transcribed_after_s=0.0,
        link=Fault(),
        lives=(Life(Plan()),),
    )
    course = Course(
        scenario,
        recording,
        recording,
        tmp_path / "state",
        Elements(scenario, cast("Service", received), cast("FaultProxy", None), secrets={SECRET}),
        runs=[DONE, REPEATED],
    )
    return Aftermath(course, received)


def test_what_went_well_is_not_condemned(aftermath: Aftermath) -> None:
    """Nothing is wrong with a run that did its work and one that repeated it."""
    assert aftermath.complaints() == ""


def hang(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, hung=True, code=-9)


def die(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, code=-9)


def give_up(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, code=75)


def trace(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, complaints=("Traceback (most recent call last):\n",))


def bloat(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, peak_kib=200_000)


def damage(it: Aftermath) -> None:
    it.received.held["job-1"] = CONTENT[:-1] + b"?"


def double(it: Aftermath) -> None:
    it.received.held["job-2"] = CONTENT


def lose(it: Aftermath) -> None:
    it.received.held.clear()


def rename(it: Aftermath) -> None:
    it.course.runs[1] = replace(REPEATED, printed=json.dumps({"job_id": "abc", "processing_id": "job-2"}))


def repeat(it: Aftermath) -> None:
    it.course.runs[1] = replace(REPEATED, up_bytes=REPEAT_BYTES_MAX + 1)


def waste(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, up_bytes=1_000_000)


def tell_the_key(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, complaints=(f"Authorization: Bearer {KEY}\n",))


def tell_an_upload(it: Aftermath) -> None:
    it.course.runs[0] = replace(DONE, events=({"event": "warned", "message": SECRET},))


def keep_an_upload(it: Aftermath) -> None:
    (it.course.state / "live.json").write_text(SECRET)


def leave_a_draft(it: Aftermath) -> None:
    (it.course.state / "live.new").touch()


def leave_a_temporary_file(it: Aftermath) -> None:
    (it.course.state.parent / "tmp" / "x").touch()


def leave_a_file_beside_the_recording(it: Aftermath) -> None:
    (it.course.recording.parent / ".recording.wav.partial").touch()


def leave_half_a_body(it: Aftermath) -> None:
    (it.received.data / "incoming" / "x").touch()


@pytest.mark.parametrize(
    ("spoil", "demand"),
    [
        (hang, "nothing hangs"),
        (die, "run 1 ends with one of [0]"),
        (give_up, "run 1 ends with one of [0]"),
        (trace, "no traceback"),
        (bloat, "the client stays below 120 MiB"),
        (damage, "the bytes are equal"),
        (double, "one recording makes one job"),
        (lose, "one recording makes one job"),
        (rename, "a repetition prints the same processing_id"),
        (repeat, "a repetition sends nothing"),
        (waste, "bytes go again"),
        (tell_the_key, "no secret is told"),
        (tell_an_upload, "no secret is told"),
        (keep_an_upload, "no secret is kept in the open"),
        (leave_a_draft, "no draft is left"),
        (leave_a_temporary_file, "no temporary file is left"),
        (leave_a_file_beside_the_recording, "no file is left beside the recording"),
        (leave_half_a_body, "the service keeps no half body"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_went_wrong_is_condemned(aftermath: Aftermath, spoil: Callable[[Aftermath], None], demand: str) -> None:
    """Whatever is spoilt, the judge says which demand it broke."""
    spoil(aftermath)

    assert demand in aftermath.complaints()


def test_an_empty_recording_is_refused_and_makes_no_job(aftermath: Aftermath) -> None:
    """A file of no bytes is no recording: the command says so, and a job of it would be wrong."""
    aftermath.course.scenario = replace(aftermath.course.scenario, size_bytes=0)
    aftermath.course.recording.write_bytes(b"")
    aftermath.course.runs[:] = [replace(DONE, code=1, up_bytes=0)] * 2

    assert "no job is made" in aftermath.complaints()
    aftermath.received.held.clear()
    assert aftermath.complaints() == ""


def test_an_edit_may_cost_a_second_job_and_a_move_or_touch_may_not(aftermath: Aftermath) -> None:
    """Other bytes may be another recording; the same ones under another name or time are not."""
    aftermath.received.held = {"job-0": b"as it was before", "job-1": CONTENT}
    double = "one recording makes one job: job-0 job-1"
    edits: tuple[tuple[Edit, str], ...] = (("grown", ""), ("moved", double), ("touched", double))
    for edit, told in edits:
        lives = tuple(replace(life, edit=edit) for life in draw(1).lives[:1])
        aftermath.course.scenario = replace(aftermath.course.scenario, lives=lives)
        assert aftermath.complaints() == told
