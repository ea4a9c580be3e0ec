"""From the recording to a sealed artifact: the only place where the two packages meet."""

from __future__ import annotations

import contextlib
import mimetypes
import os
import shutil
import stat
import sys
import uuid
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import anyio.to_thread

from .core.experience import Experience
from .errors import (
    InternalError,
    OutputError,
    RecordingChanged,
    RecordingError,
    SpeechStreamError,
    StateError,
    UserError,
)
from .events import Decided, Prepared, Sealed, Warned
from .model import ArtifactRecord, SourceIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    import preprocess

    from .events import Event
    from .model import JobRecord

    Plan: TypeAlias = preprocess.Plan

AS_IS: Final = "as-is"
AUTO: Final = "auto"
_GROWING: Final = "growing"
_PIPE: Final = "pipe:"
_SPOOLED: Final = "input"


@dataclass(frozen=True, slots=True)
class Choice:
    """The recipe that a recording is prepared with, and why, in one line."""

    recipe: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wish:
    """How a recording is to be prepared: recipe and track as asked for, and what `auto` reckons with."""

    recipe: str = AUTO
    track: str | None = None
    known: Experience = field(default_factory=Experience)


def of_pipe() -> SourceIdentity:
    """Who a recording is that comes through a pipe: nobody whom another run could meet again."""
    return SourceIdentity(device=0, inode=0, size_bytes=0, mtime_ns=0, fingerprint=f"{_PIPE}{uuid.uuid4().hex}")


def of_growing(source: Path) -> SourceIdentity:
    """Who a recording is that is still being written: the file itself, whatever is in it.

    Raises:
        RecordingError: it is missing, or not a regular file.
    """
    try:
        facts = source.stat()
    except OSError as error:
        raise RecordingError(f"{source} cannot be followed: {error.strerror}", reason="Unreadable") from error
    if not stat.S_ISREG(facts.st_mode):
        raise RecordingError(
            f"{source} is not a file that grows", hint="for a pipe: `speechstream upload -`", reason="NotRegular"
        )
    return SourceIdentity(facts.st_dev, facts.st_ino, size_bytes=0, mtime_ns=0, fingerprint=_GROWING)


def grows(job: JobRecord) -> bool:
    """Whether the recording's end is not known yet."""
    return job.identity.fingerprint == _GROWING or (
        job.identity.fingerprint.startswith(_PIPE) and not job.identity.size_bytes
    )


def require_repeatable(job: JobRecord) -> None:
    """Make sure that a lost artifact can be made again.

    Raises:
        RecordingError: it was all that there was of the recording.
    """
    if job.identity.fingerprint.startswith(_PIPE):
        raise RecordingError(
            f"What came through the pipe for job {job.id} is no longer in the state folder",
            hint=f"put the folder back, then `speechstream resume {job.id}`",
            reason="Unreadable",
        )


def growing(job: JobRecord) -> tuple[ArtifactRecord, str]:
    """The artifact of a recording that grows: its own bytes as they come."""
    name, followed = Path(job.source).name, job.identity.fingerprint == _GROWING
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    path = job.source if followed else _SPOOLED
    record = ArtifactRecord(path, 0, media_type, name, AS_IS, is_source=followed, growing=True)
    return record, "as-is: sent while it is being " + ("recorded" if followed else "read from standard input")


async def identify(source: Path) -> SourceIdentity:
    """Who the recording is.

    Raises:
        RecordingError: it is missing, empty, not a regular file, or cannot be read.
    """
    import preprocess

    try:
        found = await anyio.to_thread.run_sync(partial(preprocess.identity, source))
    except preprocess.PreprocessError as error:
        raise translated(error) from error
    return SourceIdentity(found.device, found.inode, found.size_bytes, found.mtime_ns, found.fingerprint)


async def identify_if_any(source: Path) -> SourceIdentity | None:
    """Who the recording is, or None while it is empty or being written to."""
    try:
        return await identify(source)
    except RecordingError:
        return None


async def require_unchanged(job: JobRecord) -> None:
    """Make sure that the recording is still the one the job was made for.

    Raises:
        RecordingChanged: it is another by now.
    """
    now, then = await identify(Path(job.source)), job.identity
    if (now.size_bytes, now.mtime_ns, now.fingerprint) != (then.size_bytes, then.mtime_ns, then.fingerprint):
        raise RecordingChanged(
            f"{job.source!r} is not what job {job.id} was made for: {then.size_bytes} bytes then, {now.size_bytes} now",
            hint=f"`speechstream cancel {job.id}`, then transcribe the recording as it is now",
        )


async def is_as_sealed(job: JobRecord, path: Path) -> bool:
    """Whether the artifact at `path` still is what was prepared; what came through a pipe is nobody's but its own."""
    if job.identity.fingerprint.startswith(_PIPE):
        return True
    import preprocess

    return await anyio.to_thread.run_sync(preprocess.is_as_sealed, path)


async def choose(source: Path, wish: Wish) -> Choice | None:
    """Choose how a recording is prepared, before anything is stored about it; None where it goes as it is unseen.

    `as-is` promises nothing about what the file is: it is sent whatever it is. `auto` falls back to that for a
    recording that is one and that only our ffmpeg cannot decode.

    Raises:
        SpeechStreamError: it cannot be prepared as wished; the message says why.
    """
    if wish.recipe == AS_IS:
        if wish.track is not None:
            raise UserError(
                "As it is, a recording has all its tracks", hint="leave `--track` out, or use `--recipe copy`"
            )
        return None
    import preprocess

    try:
        info = await preprocess.probe(source, track=wish.track)
        decision = preprocess.decide(info, cast("preprocess.Wish", wish.recipe), _means(wish))
    except preprocess.PreprocessError as error:
        if wish.recipe == AUTO and isinstance(error, preprocess.Unsupported):
            return None
        raise translated(error) from error
    return Choice(decision.recipe.name, decision.reason)


async def plan(source: Path, wish: Wish) -> Plan:
    """What each recipe would make of a recording, what that would cost here, and which is taken.

    Raises:
        SpeechStreamError: the recording is at fault, or cannot be prepared as wished.
    """
    import preprocess

    try:
        info = await preprocess.probe(source, track=wish.track)
        return preprocess.plan(info, cast("preprocess.Wish", wish.recipe), _means(wish))
    except preprocess.PreprocessError as error:
        raise translated(error) from error


def _means(wish: Wish) -> preprocess.Means:
    import preprocess

    return preprocess.Means(wish.known.uplink_bits_s, cores=_cores(), speed=wish.known.speed)


def _cores() -> int:
    """Processors that this process may use; fewer than the machine has, in a container."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _decide(job: JobRecord, info: preprocess.MediaInfo) -> preprocess.Decision:
    """What was decided when the job was made; anew only where the recording has changed so that this cannot be."""
    import preprocess

    if job.chosen is not None:
        with contextlib.suppress(preprocess.WishError):
            decision = preprocess.decide(info, cast("preprocess.Wish", job.chosen))
            return replace(decision, reason=job.decision or decision.reason)
    return preprocess.decide(info, cast("preprocess.Wish", job.wish))


async def prepare(job: JobRecord, spool: Path, emit: Callable[[Event], None]) -> tuple[ArtifactRecord, str]:
    """Make the job's artifact in `spool`, or take the finished one that is there. Also returns why it is so.

    Where ffmpeg itself fails on a recording that can be read, the original is sent instead, and the user is told.

    Raises:
        SpeechStreamError: the recording is at fault, or the disk is full.
    """
    source = Path(job.source)
    if job.wish == AS_IS:
        reason = "as-is: as asked"
        emit(Decided(job.id, AS_IS, reason))
        return _original(job), reason
    import preprocess

    try:
        info = await preprocess.probe(source, track=job.track)
        decision = _decide(job, info)
        emit(Decided(job.id, decision.recipe.name, decision.reason))
        for warning in decision.warnings:
            emit(Warned(job.id, warning))
        ffmpeg = await anyio.to_thread.run_sync(preprocess.find_ffmpeg)

        pace: float | None = None

        def report(event: preprocess.PreparingEvent) -> None:
            nonlocal pace
            if isinstance(event, preprocess.Progress):
                pace = event.speed
                emit(Prepared(job.id, event.done_s, event.total_s, event.speed))

        artifact = await preprocess.prepare(info, decision, spool, ffmpeg=ffmpeg, report=report)
    except (preprocess.ToolError, preprocess.Unsupported) as error:
        if isinstance(error, preprocess.Unsupported) and job.wish != AUTO:
            raise translated(error) from error
        reason = f"as-is: preparing failed ({error.message.rstrip('.')}), so the original is sent"
        emit(Warned(job.id, reason))
        return _original(job), reason
    except preprocess.PreprocessError as error:
        raise translated(error) from error
    for warning in artifact.warnings:
        emit(Warned(job.id, warning))
    emit(Sealed(job.id, artifact.size_bytes, job.identity.size_bytes))
    record = ArtifactRecord(
        path=os.fspath(source) if artifact.is_source else artifact.path.name,
        size_bytes=artifact.size_bytes,
        media_type=artifact.media_type,
        filename=source.name if artifact.is_source else f"{source.stem}{artifact.suffix}",
        recipe=artifact.recipe,
        is_source=artifact.is_source,
        speed=preprocess.measured_speed(info, decision.recipe, pace, _cores()),
    )
    return record, decision.reason


async def prepare_into(source: Path, wish: Wish, output: Path, emit: Callable[[Event], None]) -> ArtifactRecord:
    """Make only the artifact, at `output`, which appears whole or not at all.

    Raises:
        SpeechStreamError: the recording is at fault, or `output` cannot be written.
    """
    import preprocess

    spool = output.with_name(f".{output.name}.preparing")
    try:
        info = await preprocess.probe(source, track=wish.track)
        decision = preprocess.decide(info, cast("preprocess.Wish", wish.recipe), _means(wish))
        emit(Decided("", decision.recipe.name, decision.reason))
        ffmpeg = await anyio.to_thread.run_sync(preprocess.find_ffmpeg)

        def report(event: preprocess.PreparingEvent) -> None:
            if isinstance(event, preprocess.Progress):
                emit(Prepared("", event.done_s, event.total_s, event.speed))

        artifact = await preprocess.prepare(info, decision, spool, ffmpeg=ffmpeg, report=report)
    except preprocess.PreprocessError as error:
        shutil.rmtree(spool, ignore_errors=True)
        raise translated(error) from error
    try:
        if artifact.is_source:
            spool.mkdir(mode=0o700, exist_ok=True)
            await anyio.to_thread.run_sync(shutil.copyfile, artifact.path, spool / "copy")
            (spool / "copy").replace(output)
        else:
            artifact.path.replace(output)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    for warning in artifact.warnings:
        emit(Warned("", warning))
    emit(Sealed("", artifact.size_bytes, info.size_bytes))
    return ArtifactRecord(
        os.fspath(output), artifact.size_bytes, artifact.media_type, output.name, artifact.recipe, artifact.is_source
    )


def _original(job: JobRecord) -> ArtifactRecord:
    media_type = mimetypes.guess_type(job.source)[0] or "application/octet-stream"
    return ArtifactRecord(job.source, job.identity.size_bytes, media_type, Path(job.source).name, AS_IS, is_source=True)


def translated(error: preprocess.PreprocessError) -> SpeechStreamError:
    """The error of our tree for one of `preprocess`: same sentence, same hint, sorted by blame."""
    import preprocess

    hint = error.hint or None
    match error:
        case preprocess.RecordingError():
            return RecordingError(error.message, hint=hint, reason=type(error).__name__)
        case preprocess.WishError():
            return UserError(error.message, hint=hint)
        case preprocess.NoSpace() | preprocess.OutputDenied():
            return OutputError(error.message, hint=hint)
        case preprocess.ToolError():
            return StateError(error.message, hint=hint)
    return InternalError(error.message, hint=hint)
