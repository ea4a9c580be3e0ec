"""speechstream: uploads recordings that cannot be made again, and brings back their transcripts.

    import engine

    transcript = engine.transcribe("interview.mp4")          # may be repeated after any interruption

    async with engine.Client() as client:                    # the same, asynchronous
        receipt = await client.upload("lecture.mov")
        transcript = await client.wait(receipt.processing_id)

Every error is a `SpeechStreamError`; the tree is drawn in `engine.errors`. What happens meanwhile comes as typed
events from `Client.events`. Names are imported when first used, so that `import engine` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .blocking import transcribe, upload
    from .client import Client
    from .errors import (
        AmbiguousUpload,
        ConfigError,
        DigestMismatch,
        GaveUp,
        InternalError,
        JobFailed,
        KeyRejected,
        NetworkError,
        NoSuchJob,
        OutputError,
        RecordingChanged,
        RecordingError,
        ServiceError,
        SpeechStreamError,
        StateError,
        UnexpectedReply,
        UploadRefused,
        UserError,
    )
    from .events import Event
    from .model import Delivery, JobRecord, JobState, JobStatus, Receipt, Transcript

_HOME: Final = {
    "AmbiguousUpload": "errors",
    "Client": "client",
    "ConfigError": "errors",
    "Delivery": "model",
    "DigestMismatch": "errors",
    "Event": "events",
    "GaveUp": "errors",
    "InternalError": "errors",
    "JobFailed": "errors",
    "JobRecord": "model",
    "JobState": "model",
    "JobStatus": "model",
    "KeyRejected": "errors",
    "NetworkError": "errors",
    "NoSuchJob": "errors",
    "OutputError": "errors",
    "Receipt": "model",
    "RecordingChanged": "errors",
    "RecordingError": "errors",
    "ServiceError": "errors",
    "SpeechStreamError": "errors",
    "StateError": "errors",
    "Transcript": "model",
    "UnexpectedReply": "errors",
    "UploadRefused": "errors",
    "UserError": "errors",
    "transcribe": "blocking",
    "upload": "blocking",
}

__all__ = [
    "AmbiguousUpload",
    "Client",
    "ConfigError",
    "Delivery",
    "DigestMismatch",
    "Event",
    "GaveUp",
    "InternalError",
    "JobFailed",
    "JobRecord",
    "JobState",
    "JobStatus",
    "KeyRejected",
    "NetworkError",
    "NoSuchJob",
    "OutputError",
    "Receipt",
    "RecordingChanged",
    "RecordingError",
    "ServiceError",
    "SpeechStreamError",
    "StateError",
    "Transcript",
    "UnexpectedReply",
    "UploadRefused",
    "UserError",
    "transcribe",
    "upload",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
