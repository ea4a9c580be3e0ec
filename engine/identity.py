"""Who a recording is: enough to notice that it became another one; and one that is still being written."""

from __future__ import annotations

import stat
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from .errors import (
    InternalError,
    OutputError,
    RecordingChanged,
    RecordingError,
    SpeechStreamError,
    StateError,
    UserError,
)
from .media_types import media_type
from .model import AS_IS, ArtifactRecord, SourceIdentity

if TYPE_CHECKING:
    import preprocess

    from .model import JobRecord

_GROWING: Final = "growing"
_PIPE: Final = "pipe:"
_SPOOLED: Final = "input"


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


def is_only_copy(job: JobRecord) -> bool:
    """Whether what lies in the job's folder is all that there is of the recording."""
    return job.identity.fingerprint.startswith(_PIPE)


def require_repeatable(job: JobRecord) -> None:
    """Make sure that a lost artifact can be made again.

    Raises:
        RecordingError: it was all that there was of the recording.
    """
    if is_only_copy(job):
        raise RecordingError(
            f"What came through the pipe for job {job.id} is no longer in the state folder",
            hint=f"put the folder back, then `speechstream resume {job.id}`",
            reason="Unreadable",
        )


def growing_artifact(job: JobRecord) -> tuple[ArtifactRecord, str]:
    """The artifact of a recording that grows: its own bytes as they come."""
    name, followed = Path(job.source).name, job.identity.fingerprint == _GROWING
    path = job.source if followed else _SPOOLED
    record = ArtifactRecord(path, 0, media_type(name), name, AS_IS, is_source=followed, growing=True)
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
    if is_only_copy(job):
        return True
    import preprocess

    return await anyio.to_thread.run_sync(preprocess.is_as_sealed, path)


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
