"""What must hold after every scenario, whatever was done in it."""

from __future__ import annotations

import hashlib
import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil

from tests.faults.recording import sha256_of
from tests.faults.service import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.chaos.course import Course
    from tests.faults.chaos.run import Run

REPEAT_BYTES_MAX: Final = 16 << 10  # a repeated command may ask, and send nothing of the recording
PEAK_KIB_MAX: Final = 120 << 10  # whatever the recording's size
_RUN_BYTES: Final = 64 << 10  # questions of one run that are not the recording: offers, submissions, status calls
_SIGNALLED: Final = {"SIGKILL": {-signal.SIGKILL}, "SIGTERM": {130}, "SIGINT": {130}, "": set[int]()}
_SAME_BYTES: Final = frozenset({"moved", "touched"})


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that must hold and does not; `seen` is what was found instead."""

    demand: str
    seen: str

    def __str__(self) -> str:
        return f"{self.demand}: {self.seen}"


def judged(course: Course) -> list[Complaint]:
    """Everything that is wrong after a scenario; nothing when all is right."""
    demands = (_ends, _result, _repetition, _economy, _silence, _leftovers)
    return [complaint for demand in demands for complaint in demand(course)]


def _ends(course: Course) -> Iterator[Complaint]:
    """Runs end in the ways they may, and end at all."""
    for number, run in enumerate(course.runs, start=1):
        if run.hung:
            yield Complaint("nothing hangs", f"run {number}, {run.phase}: {_last(run)}")
        legal = {0} | _SIGNALLED[run.blow]
        if run.is_ambiguous and course.scenario.wire == "single":
            legal |= {75}
        if _is_refused(course) or run.came_to_nothing or (run.found_it_shrunk and "shrunk" in course.scenario.edits):
            legal |= {1}
        if run.code not in legal and not run.hung:
            yield Complaint(f"run {number} ends with one of {sorted(legal)}", f"{run.code}: {_last(run)}")
        if any("Traceback" in line for line in run.complaints) and not run.hung:
            yield Complaint("no traceback", f"run {number}: {''.join(run.complaints)[-300:]}")
        if run.peak_kib > PEAK_KIB_MAX:
            yield Complaint("the client stays below 120 MiB", f"run {number}: {run.peak_kib >> 10} MiB")


def _result(course: Course) -> Iterator[Complaint]:
    """The service has the recording as it is, and one job for it, or none for a delivery."""
    if any(run.hung for run in course.runs):
        return
    jobs, edits = course.service.jobs(), [edit for edit in course.scenario.edits if edit not in _SAME_BYTES]
    if _is_refused(course) or course.scenario.command == "send":
        if jobs:
            yield Complaint("no job is made", " ".join(jobs))
    elif not 1 <= len(jobs) <= 1 + len(edits):
        yield Complaint("one recording makes one job", " ".join(jobs) or "none")
    if not _is_refused(course):
        yield from _content(course, sha256_of(course.expected))


def _content(course: Course, wanted: str) -> Iterator[Complaint]:
    """What the result names is the recording."""
    printed = _printed(course.runs[-1])
    if course.scenario.command == "send":
        found = _digest_of_upload(course.service.data / "uploads", str(printed.get("url")).rpartition("/")[2])
        if found != wanted:
            yield Complaint("the bytes are equal", f"SHA-256 {wanted[:16]} here, {str(found)[:16]} there")
        return
    received = course.service.recordings()
    named = course.found_by_a_person or str(printed.get("processing_id"))
    if named not in received:
        yield Complaint("the id is a job's", f"{named!r} of {sorted(received)}")
    elif sha256_of(received[named]) != wanted:
        sizes = (course.expected.stat().st_size, received[named].stat().st_size)
        yield Complaint("the bytes are equal", f"{sizes[0]} here, {sizes[1]} there")
    text = printed.get("text")
    if course.scenario.command == "transcribe" and course.found_by_a_person is None and text != f"heard in {named}":
        yield Complaint("the transcript is printed", repr(text))


def _repetition(course: Course) -> Iterator[Complaint]:
    """The same command once more says the same and sends nothing."""
    if _is_refused(course) or any(run.hung for run in course.runs):
        return
    *_, done, again = course.runs
    if again.up_bytes > REPEAT_BYTES_MAX:
        yield Complaint("a repetition sends nothing", f"{again.up_bytes} bytes")
    for name in ("job_id", "processing_id", "url"):
        before, after = (_printed(run).get(name) for run in (done, again))
        if done.code == 0 and before != after:
            yield Complaint(f"a repetition prints the same {name}", f"{before!r}, then {after!r}")


def _economy(course: Course) -> Iterator[Complaint]:
    """Nothing is sent again but what may have been lost on the way."""
    again_bytes, allowed_bytes = again(course), allowed(course)
    if again_bytes > allowed_bytes:
        yield Complaint(f"at most {allowed_bytes:,} bytes go again", f"{again_bytes:,}")


def again(course: Course) -> int:
    """How many bytes went up beyond the recording's own; negative where a recording never went whole."""
    return sum(run.up_bytes for run in course.runs) - course.expected.stat().st_size


def allowed(course: Course) -> int:
    """How many may have: what was in flight on connections that were hurt, and all for each edit."""
    # Nobody ever compares a delivery's bytes, so after a touch those that were in flight before it prove nothing.
    free = {"moved"} if course.scenario.command == "send" else _SAME_BYTES
    edits = len([edit for edit in course.scenario.edits if edit not in free])
    edits += course.scenario.source == "followed"  # whose recorder writes a header when it ends
    per_run = sum(run.allowed_bytes + _RUN_BYTES for run in course.runs)
    return per_run + edits * (course.expected.stat().st_size + 1000)


def _silence(course: Course) -> Iterator[Complaint]:
    """Neither key nor upload is told to anyone."""
    secrets = {KEY, *course.elements.secrets}
    for number, run in enumerate(course.runs, start=1):
        said = [json.dumps(run.events), *run.complaints]
        if course.scenario.command != "send":
            said.append(run.printed)
        for secret in secrets:
            if any(secret in text for text in said):
                yield Complaint("no secret is told", f"run {number} tells {secret[:6]}…")
    for path in course.state.rglob("*"):
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
            yield Complaint("no secret is kept in the open", str(path.relative_to(course.state)))


def _leftovers(course: Course) -> Iterator[Complaint]:
    """No process and no file outlives the work."""
    for process in psutil.process_iter():
        try:
            state = process.environ().get("SPEECHSTREAM_STATE_DIR")
        except psutil.Error:
            continue
        if state == str(course.state):
            yield Complaint("no process is left", " ".join(process.cmdline()))
    if beside := [path.name for path in course.recording.parent.iterdir() if path != course.recording]:
        yield Complaint("no file is left beside the recording", " ".join(beside))
    if temporary := [path.name for path in (course.state.parent / "tmp").iterdir()]:
        yield Complaint("no temporary file is left", " ".join(temporary))
    for path in course.state.rglob("*"):
        spooled = path.name == "spool" and course.found_by_a_person is None  # whose job may still need it
        if path.suffix in {".new", ".tmp", ".part"} or spooled:
            yield Complaint("no draft is left in the state folder", str(path.relative_to(course.state)))
    if incoming := list((course.service.data / "incoming").iterdir()):
        yield Complaint("the service keeps no half body", str(len(incoming)))


def _is_refused(course: Course) -> bool:
    """An empty file is no recording."""
    return course.scenario.size_bytes == 0


def _printed(run: Run) -> dict[str, object]:
    try:
        printed: dict[str, object] = json.loads(run.printed.splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return printed


def _last(run: Run) -> str:
    return " ".join([json.dumps(event) for event in run.events[-2:]] + [line.strip() for line in run.complaints[-3:]])


def _digest_of_upload(folder: Path, upload_id: str) -> str | None:
    """What a finished upload holds: one file, or its partials' one after the other."""
    name = hashlib.blake2b(upload_id.encode(), digest_size=32).hexdigest()
    whole = folder / name
    members = sorted(folder.glob(f"{name}.*"), key=lambda path: int(path.suffix[1:]))
    found = hashlib.sha256()
    for path in members or [whole]:
        if not path.exists():
            return None
        found.update(path.read_bytes())
    return found.hexdigest()
