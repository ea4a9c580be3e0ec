"""What happens to a job, as data. Workers emit events and never print; who renders them is elsewhere.

`kind` of an event is its class name in lower case with dashes; `as_dict` is the JSON form that `--progress json` and
an attached second process read.
"""

from __future__ import annotations

import re
from typing import TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import asdict


class Opened(Struct, frozen=True):
    """The job is known.

    `resumed` when it existed before, `attached` when another process is its owner, `done` when nothing is left to do.
    """

    job_id: str
    source: str
    resumed: bool
    attached: bool = False
    done: bool = False


class Decided(Struct, frozen=True):
    """How the recording is prepared, and why, in one line."""

    job_id: str
    recipe: str
    reason: str


class Prepared(Struct, frozen=True):
    """Preparing goes on: `done_s` of `total_s` seconds of the recording, `speed` times real time."""

    job_id: str
    done_s: float
    total_s: float | None
    speed: float | None = None


class Sealed(Struct, frozen=True):
    """The artifact is finished and will not change."""

    job_id: str
    size_bytes: int
    source_bytes: int


class Uploaded(Struct, frozen=True):
    """`acked_bytes` of `total_bytes` are confirmed by the server; never goes back within a job.

    `unconfirmed_bytes` have left this program and are not confirmed. `limit_bytes_s` is the limit in force, if any, in
    bytes a second. `polite` when it gives way to the user's other traffic.
    """

    job_id: str
    acked_bytes: int
    total_bytes: int
    unconfirmed_bytes: int = 0
    limit_bytes_s: int | None = None
    polite: bool = False


class Checked(Struct, frozen=True):
    """`done_bytes` of the `total_bytes` that have to be read from the disk to prove something are read."""

    job_id: str
    done_bytes: int
    total_bytes: int


class Waiting(Struct, frozen=True):
    """Nothing moves for up to `seconds`, because of `reason`; None where nobody knows for how long."""

    job_id: str
    reason: str
    seconds: float | None


class Warned(Struct, frozen=True):
    """Something a person should know that stops nothing."""

    job_id: str
    message: str


class Submitted(Struct, frozen=True):
    """The service answered with its id; it is durable."""

    job_id: str
    processing_id: str


class Polled(Struct, frozen=True):
    """The service was asked and is still at work."""

    job_id: str
    processing_id: str
    status: str


class Transferred(Struct, frozen=True):
    """The end line: what the transfer cost, over all runs, and what is known of the bytes that arrived.

    `proof` is `verified by server` or `length only`.
    """

    job_id: str
    size_bytes: int
    sent_again_bytes: int
    retries: int
    waited_s: float
    rate_bytes_s: float | None
    proof: str


class Completed(Struct, frozen=True):
    """The job is at its end, and its result is durable."""

    job_id: str


class Failed(Struct, frozen=True):
    """The attempt ended with an error; `resumable` when the same command goes on."""

    job_id: str
    error: str
    message: str
    hint: str | None
    resumable: bool


class Counted(Struct, frozen=True):
    """Of many recordings so many are `done`, so many have `failed`; `total` is None until all of them are known."""

    done: int
    failed: int
    total: int | None


Event: TypeAlias = (
    Opened
    | Decided
    | Prepared
    | Sealed
    | Uploaded
    | Checked
    | Waiting
    | Warned
    | Submitted
    | Polled
    | Transferred
    | Completed
    | Failed
    | Counted
)

_BY_KIND: dict[str, type[Event]] = {
    re.sub(r"(?<!^)([A-Z])", r"-\1", cls.__name__).lower(): cls for cls in get_args(Event)
}
_KIND_OF = {cls: kind for kind, cls in _BY_KIND.items()}


def as_dict(event: Event) -> dict[str, object]:
    """The JSON form: the event's fields and its `event` kind."""
    return {"event": _KIND_OF[type(event)], **asdict(event)}


def from_dict(value: dict[str, object]) -> Event | None:
    """The event again, or None where the form is not one of ours (another version wrote it)."""
    fields = dict(value)
    cls = _BY_KIND.get(str(fields.pop("event", "")))
    if cls is None:
        return None
    try:
        event: Event = cls(**fields)  # type: ignore[arg-type]  # the fields are checked by the constructor's names
    except TypeError:
        return None
    return event
