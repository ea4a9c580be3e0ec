"""Every error this program raises on purpose, split by who can do something about it.

    SpeechStreamError
    ├── UserError                 yours; exit 1
    │   ├── ConfigError           a setting is missing or cannot be used
    │   ├── KeyRejected           401/403: nothing lost, goes on with a good key; exit 75
    │   ├── NoSuchJob             no job or processing_id of that name here
    │   └── OutputError           the place for the result cannot be written
    ├── RecordingError            the recording's; exit 1
    │   └── RecordingChanged      it is not the file it was when the upload began
    ├── ServiceError              the service's; exit 2
    │   ├── JobFailed             the service took the recording and could not transcribe it
    │   ├── UnexpectedReply       a reply that the call must not give
    │   ├── UploadRefused         the server will not take these bytes
    │   ├── DigestMismatch        the server holds other bytes than we sent
    │   └── AmbiguousUpload       sent whole, never answered: a repeat might make a second job; exit 75
    ├── NetworkError              the network's; exit 75
    │   └── GaveUp                no acknowledged byte within the retry budget
    └── InternalError             ours; exit 2
        └── StateError            the state folder or its manifest cannot be used

A message is one sentence that names what and where. `hint` is what to type next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command answers to the shell. 75 is EX_TEMPFAIL of sysexits.h; 130 is 128 + SIGINT."""

    OK = 0
    USER = 1
    OURS = 2
    RESUMABLE = 75
    INTERRUPTED = 130


class SpeechStreamError(Exception):
    """The root: catch this to catch all that this library raises on purpose."""

    exit_code = ExitCode.OURS

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def kind(self) -> str:
        """The class name: stable, for programs that read `--json`."""
        return type(self).__name__


class UserError(SpeechStreamError):
    """Raised when the caller asked for something that cannot be done as asked."""

    exit_code = ExitCode.USER


class ConfigError(UserError):
    """Raised when a setting is missing, malformed, or unsafe to use."""


class KeyRejected(UserError):
    """Raised at the first 401 or 403. The upload stays as it is and goes on with a good key."""

    exit_code = ExitCode.RESUMABLE


class NoSuchJob(UserError):
    """Raised when a job id or processing_id is not in this machine's manifest."""


class OutputError(UserError):
    """Raised when the transcript or artifact cannot be written where it was asked for."""


class RecordingError(SpeechStreamError):
    """Raised when the recording cannot be read, is not a recording, or has no sound."""

    exit_code = ExitCode.USER

    def __init__(self, message: str, *, hint: str | None = None, reason: str = "Unusable") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class RecordingChanged(RecordingError):
    """Raised when the recording, or what is encoded of it, is no longer the bytes whose upload was begun."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, reason="Changed")


class ServiceError(SpeechStreamError):
    """Raised when the service answered, and its answer ends the job or makes no sense."""


class JobFailed(ServiceError):
    """Raised when the service reports a permanent failure of the job."""


class UnexpectedReply(ServiceError):
    """Raised when a reply breaks what the call documents, and repeating it did not help."""


class UploadRefused(ServiceError):
    """Raised when the server refuses the upload for good: too large, no space, wrong protocol."""


class DigestMismatch(ServiceError):
    """Raised when the server's bytes still differ from ours after they were sent again."""


class AmbiguousUpload(ServiceError):
    """Raised when a single-request upload left whole and no answer came.

    Whether a job exists is unknown; repeating it might make a second one, so a person decides.
    """

    exit_code = ExitCode.RESUMABLE


class NetworkError(SpeechStreamError):
    """Raised when the network, not the service, ended the attempt. Always resumable."""

    exit_code = ExitCode.RESUMABLE


class GaveUp(NetworkError):
    """Raised when the retry budget passed without one acknowledged byte."""


class InternalError(SpeechStreamError):
    """Raised when this program is at fault."""


class StateError(InternalError):
    """Raised when the state folder or manifest cannot be opened, read or written."""
