"""From the recording to a sealed artifact: the only place where the two packages meet."""

from __future__ import annotations

import contextlib
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import anyio.to_thread
from msgspec import Struct, field
from msgspec.structs import replace

from .core.experience import Experience
from .errors import (
    OutputError,
    SpeechStreamError,
    UserError,
)
from .events import Decided, Prepared, Sealed, Waiting, Warned
from .identity import translated
from .media_types import media_type
from .model import AS_IS, AUTO, ArtifactRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import preprocess

    from .events import Event
    from .model import JobRecord

    Plan: TypeAlias = preprocess.Plan

_PARTIAL: Final = "artifact.partial"
_LOOKS_KEPT: Final = 64


class Listener(Protocol):
    """Who wants to know how far an artifact in the making has come. Called in the event loop; must not raise."""

    def begun(self, generation: str, watermark_bytes: int) -> None:
        """Its bytes can be read; so many are on the disk for good, those of an earlier run among them."""

    def moved(self, done_s: float, total_s: float | None, speed: float | None, watermark_bytes: int) -> None:
        """So many seconds of the recording are encoded, at so many times real time."""

    def paused(self, reason: str) -> None:
        """Nothing moves until a person does something about it."""


class Unpreparable(Exception):
    """ffmpeg fails on a recording that can be read; `error` is what to say where the original must not be sent."""

    def __init__(self, message: str, error: SpeechStreamError) -> None:
        super().__init__(message)
        self.reason = f"as-is: preparing failed ({message.rstrip('.')}), so the original is sent"
        self.error = error


class Prospect(Struct, frozen=True):
    """A recording that was looked into, and what is to be made of it."""

    info: preprocess.MediaInfo
    decision: preprocess.Decision
    ffmpeg: preprocess.Ffmpeg


class Choice(Struct, frozen=True):
    """The recipe that a recording is prepared with, and why, in one line."""

    recipe: str
    reason: str


class Wish(Struct, frozen=True):
    """How a recording is to be prepared: recipe and track as asked for, and what `auto` reckons with."""

    recipe: str = AUTO
    track: str | None = None
    known: Experience = field(default_factory=Experience)


class Looks:
    """What was found in recordings of late. Looking takes a third of a second, and a job needs it at every stage.

    A recording that was written to, or replaced, is another one: it is known by its place, inode, size and time.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], preprocess.MediaInfo] = {}

    async def into(self, source: Path, track: str | None, *, to_prepare: bool = False) -> preprocess.MediaInfo:
        """What is known about the recording there.

        Raises:
            PreprocessError: as `preprocess.probe`.
        """
        import preprocess

        before = _mark(source, track)
        found = self._found.get(before) if before is not None else None
        if found is None:
            found = await preprocess.probe(source, track=track, to_prepare=to_prepare)
            if before is not None and _mark(source, track) == before:
                self._found[before] = found
                if len(self._found) > _LOOKS_KEPT:
                    del self._found[next(iter(self._found))]
        return found


def _mark(source: Path, track: str | None) -> tuple[object, ...] | None:
    try:
        facts = source.stat()
    except OSError:
        return None
    return source, track, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


_looks: Final = Looks()


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
        info = await _looks.into(source, wish.track)
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

    return preprocess.Means(wish.known.uplink_bits_s, cores=preprocess.worker_count(), speed=wish.known.speed)


def _decide(job: JobRecord, info: preprocess.MediaInfo) -> preprocess.Decision:
    """What was decided when the job was made; anew only where the recording has changed so that this cannot be."""
    import preprocess

    if job.chosen is not None:
        with contextlib.suppress(preprocess.WishError):
            decision = preprocess.decide(info, cast("preprocess.Wish", job.chosen))
            return replace(decision, reason=job.decision or decision.reason)
    return preprocess.decide(info, cast("preprocess.Wish", job.wish))


async def look(job: JobRecord) -> Prospect:
    """Look into a recording that is to be prepared. One whose artifact has been begun keeps its recipe.

    Raises:
        Unpreparable: ffmpeg is missing, or cannot decode it.
        SpeechStreamError: the recording is at fault.
    """
    import preprocess

    with _told(job):
        info = await _looks.into(Path(job.source), job.track, to_prepare=True)
        decision = _decide(job, info)
        if job.artifact is not None:
            decision = preprocess.decide(info, cast("preprocess.Wish", job.artifact.recipe))
        return Prospect(info, decision, await anyio.to_thread.run_sync(preprocess.find_ffmpeg))


async def begin(job: JobRecord, emit: Callable[[Event], None]) -> tuple[ArtifactRecord, str]:
    """The artifact that the job is going to have, and why it is that one. No byte of it is made yet.

    Raises:
        Unpreparable: ffmpeg is missing, or cannot decode it.
        SpeechStreamError: the recording is at fault.
    """
    if job.wish == AS_IS:
        reason = "as-is: as asked"
        emit(Decided(job.id, AS_IS, reason))
        return original(job), reason
    prospect = await look(job)
    recipe, reason = prospect.decision.recipe, prospect.decision.reason
    emit(Decided(job.id, recipe.name, reason))
    for warning in prospect.decision.warnings:
        emit(Warned(job.id, warning))
    if not recipe.options:
        return original(job), reason
    name = f"{Path(job.source).stem}{recipe.suffix}"
    return ArtifactRecord(_PARTIAL, 0, recipe.media_type, name, recipe.name, is_source=False, growing=True), reason


async def make(
    job: JobRecord, prospect: Prospect, spool: Path, listener: Listener
) -> tuple[ArtifactRecord, tuple[str, ...]]:
    """Make the job's artifact in `spool`, or take the finished one that is there. Also returns what to warn of.

    Raises:
        Unpreparable: ffmpeg fails on it.
        SpeechStreamError: the recording is at fault, or the spool cannot be written.
    """
    import preprocess

    pace: float | None = None

    def report(event: preprocess.PreparingEvent) -> None:
        nonlocal pace
        match event:
            case preprocess.Begun():
                listener.begun(event.generation, event.watermark_bytes)
            case preprocess.Progress():
                pace = event.speed
                listener.moved(event.done_s, event.total_s, event.speed, event.watermark_bytes)
            case preprocess.Paused():
                listener.paused(f"{event.message.rstrip('.')}; {event.hint}")

    with _told(job):
        artifact = await preprocess.prepare(
            prospect.info,
            prospect.decision,
            spool,
            ffmpeg=prospect.ffmpeg,
            report=report,
            effort=preprocess.Effort(waits_for_room=True),
        )
    name = f"{Path(job.source).stem}{artifact.suffix}"
    made = ArtifactRecord(
        artifact.path.name,
        artifact.size_bytes,
        artifact.media_type,
        name,
        artifact.recipe,
        is_source=False,
        speed=preprocess.measured_speed(prospect.info, prospect.decision.recipe, pace, preprocess.worker_count()),
    )
    return made, artifact.warnings


@contextmanager
def _told(job: JobRecord) -> Iterator[None]:
    """Sort what preprocess raises: where only our ffmpeg is at fault, the original may be sent."""
    import preprocess

    try:
        yield
    except (preprocess.ToolError, preprocess.Unsupported) as error:
        if isinstance(error, preprocess.Unsupported) and job.wish != AUTO:
            raise translated(error) from error
        raise Unpreparable(error.message, translated(error)) from error
    except preprocess.PreprocessError as error:
        raise translated(error) from error


async def prepare_into(source: Path, wish: Wish, output: Path, emit: Callable[[Event], None]) -> ArtifactRecord:
    """Make only the artifact, at `output`, which appears whole or not at all. An interrupted one is gone on with.

    Raises:
        SpeechStreamError: the recording is at fault, or `output` cannot be written.
    """
    import preprocess

    spool = output.with_name(f".{output.name}.preparing")

    def report(event: preprocess.PreparingEvent) -> None:
        match event:
            case preprocess.Progress():
                emit(Prepared("", event.done_s, event.total_s, event.speed))
            case preprocess.Paused():
                emit(Waiting("", f"{event.message.rstrip('.')}; {event.hint}", None))

    try:
        info = await preprocess.probe(source, track=wish.track, to_prepare=True)
        decision = preprocess.decide(info, cast("preprocess.Wish", wish.recipe), _means(wish))
        emit(Decided("", decision.recipe.name, decision.reason))
        for warning in decision.warnings:
            emit(Warned("", warning))
        ffmpeg = await anyio.to_thread.run_sync(preprocess.find_ffmpeg)
        effort = preprocess.Effort(waits_for_room=True)
        artifact = await preprocess.prepare(info, decision, spool, ffmpeg=ffmpeg, report=report, effort=effort)
    except preprocess.PreprocessError as error:
        if not isinstance(error, preprocess.ToolError):
            shutil.rmtree(spool, ignore_errors=True)
        raise translated(error) from error
    await anyio.to_thread.run_sync(_put, artifact, spool, output)
    for warning in artifact.warnings:
        emit(Warned("", warning))
    emit(Sealed("", artifact.size_bytes, info.size_bytes))
    return ArtifactRecord(
        os.fspath(output), artifact.size_bytes, artifact.media_type, output.name, artifact.recipe, artifact.is_source
    )


def _put(artifact: preprocess.Artifact, spool: Path, output: Path) -> None:
    try:
        if artifact.is_source:
            spool.mkdir(mode=0o700, exist_ok=True)
            shutil.copyfile(artifact.path, spool / "copy")
            (spool / "copy").replace(output)
        else:
            artifact.path.replace(output)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def original(job: JobRecord) -> ArtifactRecord:
    """The recording itself as the artifact."""
    name = Path(job.source).name
    return ArtifactRecord(job.source, job.identity.size_bytes, media_type(name), name, AS_IS, is_source=True)
