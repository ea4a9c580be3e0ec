"""What a lane does next, and what a reply or a fault means for it.

Theory of operation. A lane is frozen data plus a `Doubt`: what must be settled before another byte may leave.

* A lane that was never created is created.
* After a start, and after every append that failed in any way, the lane is in doubt: it asks the server where it
  stands before it goes on. Bytes may have been kept whatever the error said (servers are known that append and
  then answer 415), so no failure is judged before the server's offset is known.
* The server's offset is the truth, within bounds: beyond the furthest byte we ever offered it is a foreign writer's,
  and the lane begins anew; below what it had acknowledged it is taken, with a warning, and the bytes go again.
* A resource that is twice said to be gone begins anew, at most `MAX_LOSSES` times a run. If all its bytes had been
  offered, the upload may have been completed and moved away: then the submission is tried first
  (`presumed_complete`).
* A lane whose end nobody knows yet, or that may still be cut in two, is made without a length (`deferred`). The append
  that reaches its end tells it, an empty one if need be; until the end is known the lane waits for more of the artifact
  wherever it has caught up.
* Refusals of the same append are fatal only when they recur without progress. Progress is a byte further than this
  resource had acknowledged in this run: a server that takes bytes, loses them and takes them again makes none.

Every change of state happens in this file.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ..errors import KeyRejected, ServiceError, UploadRefused
from ..faults import Corrupted, Fault, Gone, NoSpace, Refused, TooLarge, Unauthorized
from ..model import OPEN_END, Lane, Span, Standing

if TYPE_CHECKING:
    from ..redaction import Secret

MAX_LOSSES: Final = 2  # in one run: a server that loses a third resource is not worth a fourth just now
MAX_REFUSALS: Final = 3  # one may be a lock or an interruption that a server calls 400; three are its opinion
_FATAL_STATUS: Final = {
    402: "wants a payment first",
    405: "does not take appends with PATCH",
    412: "speaks another version of the tus protocol",
    415: "does not take the tus media type",
    501: "does not implement appends",
}


class Doubt(Enum):
    """What must be settled before bytes may leave."""

    NONE = auto()
    OFFSET = auto()
    GONE = auto()


class LaneState(Struct, frozen=True):
    """A lane in one run of the program: the durable `lane`, and what this run has still to find out."""

    lane: Lane
    doubt: Doubt = Doubt.OFFSET
    refusals: int = 0
    furthest_bytes: int = 0
    losses: int = 0
    absences: int = 0
    presumed_complete: bool = False
    warning: str | None = None


class Create(Struct, frozen=True):
    """Make the remote resource, of `size_bytes`, or of a length to be told later (None)."""

    size_bytes: int | None


class Locate(Struct, frozen=True):
    """Ask the server for its offset."""


class Append(Struct, frozen=True):
    """Send `span` of the artifact at the lane's `offset_bytes`, and tell the lane's length if it must be told.

    Only an append that tells a length may be empty.
    """

    span: Span
    offset_bytes: int
    declare_bytes: int | None = None


class Await(Struct, frozen=True):
    """Nothing to do until the artifact reaches beyond byte `offset` or ends."""

    offset: int


class Finished(Struct, frozen=True):
    """Every byte is acknowledged, or presumed so until the submission tells."""


Step: TypeAlias = Create | Locate | Append | Await | Finished


def next_step(state: LaneState, request_bytes: int, supply_stop: int = OPEN_END, *, divisible: bool = False) -> Step:
    """What to do now. `request_bytes` bounds one append; the artifact can be read up to byte `supply_stop`.

    A lane whose span ends within the supply has a length; one that ends beyond may still be cut shorter, and one that
    is `divisible` is made without one.
    """
    lane = state.lane
    length = lane.span.size_bytes if lane.span.stop <= supply_stop and lane.span.stop < OPEN_END else None
    if state.presumed_complete:
        return Finished()
    if not lane.created or state.doubt is Doubt.GONE:
        return Create(None if divisible else length)
    if state.doubt is Doubt.OFFSET:
        return Locate()
    rest = lane.remaining
    span = Span(rest.start, max(rest.start, min(rest.stop, rest.start + request_bytes, supply_stop)))
    declare = length if lane.deferred and span.stop == lane.span.stop else None
    if span.size_bytes or declare is not None:
        return Append(span, lane.acked_bytes, declare)
    return Await(rest.start) if rest.size_bytes else Finished()


def offering(state: LaneState, step: Append) -> LaneState:
    """The state to commit before `step` is sent: how far bytes may have got from now on."""
    end = step.offset_bytes + step.span.size_bytes
    return replace(state, lane=replace(state.lane, offered_bytes=max(state.lane.offered_bytes, end)), warning=None)


def created(state: LaneState, url: Secret | None, expires_at: float | None, *, deferred: bool = False) -> LaneState:
    """The resource exists and is empty; `deferred` where the server was not told its length."""
    lane = state.lane
    fresh = replace(
        lane,
        created=True,
        url=url,
        acked_bytes=0,
        offered_bytes=0,
        generation=lane.generation + 1,
        expires_at=expires_at,
        deferred=deferred,
        checked=True,
    )
    warning = "the server no longer has the upload; its bytes are sent again" if lane.acked_bytes else None
    return replace(state, lane=fresh, doubt=Doubt.NONE, refusals=0, absences=0, furthest_bytes=0, warning=warning)


def located(state: LaneState, standing: Standing) -> LaneState:
    """The server said where the lane stands."""
    lane = state.lane
    distrust = _distrust(lane, standing)
    if distrust is not None:
        return _lost(state, distrust)
    warning = None
    if lane.generation == 0 and standing.offset_bytes > lane.acked_bytes:
        warning = f"the upload already holds {standing.offset_bytes} bytes; they are taken for the recording's"
    if standing.offset_bytes < lane.acked_bytes:
        lost = lane.acked_bytes - standing.offset_bytes
        warning = f"the server no longer has {lost} bytes that it had acknowledged; they are sent again"
    told_of_more = standing.offset_bytes > lane.acked_bytes  # by nobody who said that it had compared them
    return replace(_reached(state, standing, checked=not told_of_more), doubt=Doubt.NONE, absences=0, warning=warning)


def appended(state: LaneState, step: Append, standing: Standing, *, checked: bool = False) -> LaneState:
    """The server took (some of) an append; its offset says how much. `checked` where it had a checksum for it.

    A checksum covers a whole append: whoever keeps a part of one has compared nothing.

    Raises:
        ServiceError: it keeps calling appends a success of which it takes nothing.
    """
    end = step.offset_bytes + step.span.size_bytes
    taken = step.offset_bytes < standing.offset_bytes <= end or (standing.offset_bytes == end == step.offset_bytes)
    told = replace(state, lane=replace(state.lane, deferred=state.lane.deferred and step.declare_bytes is None))
    if taken and _distrust(told.lane, standing) is None:
        compared = (checked and standing.offset_bytes == end) or not step.span.size_bytes
        return replace(_reached(told, standing, checked=compared), doubt=Doubt.NONE, warning=None)
    if state.refusals + 1 >= MAX_REFUSALS:
        raise ServiceError(
            f"The server calls the same append a success {MAX_REFUSALS} times and keeps none of it",
            hint="what was acknowledged is kept: `speechstream resume` goes on",
        )
    return replace(state, doubt=Doubt.OFFSET, refusals=state.refusals + 1, warning=None)


def failed(state: LaneState, step: Step, fault: Fault) -> LaneState:
    """A step did not count. Returns the state to go on from after the wait that the retry policy gives.

    A failed append was an offer all the same: whatever part of it the server kept is ours.

    Raises:
        KeyRejected: at once on 401 or 403; nothing is given up.
        UploadRefused: the server will not take the upload, now or ever.
        ServiceError: the same failure keeps coming back without progress.
    """
    state = replace(state, warning=None)
    _stop_if_fatal(state, step, fault)
    if isinstance(step, Locate) and isinstance(fault, Gone):
        if not state.absences:
            return replace(state, absences=1)  # a proxy between two versions of a service says 404, too
        offered_all = state.lane.offered_bytes == state.lane.span.size_bytes > 0
        if offered_all:
            return replace(state, presumed_complete=True)
        return _lost(state, None)
    if isinstance(step, Append):
        counts = isinstance(fault, (Refused, Corrupted))
        return replace(offering(state, step), doubt=Doubt.OFFSET, refusals=state.refusals + counts)
    return replace(state, refusals=state.refusals + isinstance(fault, Refused))


def cut(state: LaneState, stop: int) -> LaneState:
    """The lane ends at byte `stop` now; what was beyond is another lane's."""
    lane = state.lane
    if stop >= lane.span.stop:
        return state
    return replace(state, lane=replace(lane, span=Span(lane.span.start, stop)))


def ending_at(state: LaneState, total_bytes: int) -> LaneState:
    """The artifact turned out to end at `total_bytes`, maybe within this lane."""
    return cut(state, total_bytes)


def disproved(state: LaneState) -> LaneState:
    """The presumption was wrong (the submission says that the upload is gone or unfinished): ask, or begin anew."""
    return _lost(replace(state, presumed_complete=False), None)


def _lost(state: LaneState, warning: str | None) -> LaneState:
    if state.losses >= MAX_LOSSES:
        raise ServiceError(
            f"The server lost the upload {state.losses + 1} times",
            hint="the recording is safe here; ask the service's operator, then `speechstream resume`",
        )
    # What is not believed to be ours was not acknowledged; it has been told why, and not that something is missing.
    lane = state.lane if warning is None else replace(state.lane, acked_bytes=0)
    return replace(state, lane=lane, doubt=Doubt.GONE, losses=state.losses + 1, warning=warning)


def _distrust(lane: Lane, standing: Standing) -> str | None:
    if standing.length_bytes is not None and standing.length_bytes != lane.span.size_bytes:
        return "the server's upload has another length than ours; a new one is begun"
    if standing.offset_bytes > lane.offered_bytes:
        return "the server claims bytes that were never sent; a new upload is begun"
    return None


def _reached(state: LaneState, standing: Standing, *, checked: bool) -> LaneState:
    expires_at = state.lane.expires_at if standing.expires_at is None else standing.expires_at
    return replace(
        state,
        lane=replace(
            state.lane,
            acked_bytes=standing.offset_bytes,
            expires_at=expires_at,
            deferred=standing.deferred or (state.lane.deferred and standing.length_bytes is None),
            checked=state.lane.checked and checked,
        ),
        refusals=0 if standing.offset_bytes > state.furthest_bytes else state.refusals,
        furthest_bytes=max(state.furthest_bytes, standing.offset_bytes),
    )


def _stop_if_fatal(state: LaneState, step: Step, fault: Fault) -> None:
    if isinstance(fault, Unauthorized):
        raise key_rejected(fault) from fault
    if isinstance(fault, NoSpace):
        raise no_space(fault)
    if isinstance(step, Create) and isinstance(fault, (TooLarge, Refused, Gone)):
        raise UploadRefused(f"The service refuses the upload: {fault.message}")
    if not isinstance(step, Append):
        if isinstance(fault, Refused) and state.refusals + 1 >= MAX_REFUSALS:
            raise UploadRefused(f"The service refuses to say where the upload stands: {fault.message}")
        return
    if isinstance(fault, Refused) and fault.status in _FATAL_STATUS:
        raise UploadRefused(
            f"The server {_FATAL_STATUS[fault.status]}: {fault.message}",
            hint="check that the URL is a tus 1.0.0 endpoint, or choose `--wire single`",
        )
    if state.refusals + 1 >= MAX_REFUSALS and isinstance(fault, (Refused, Corrupted)):
        what = "arrives damaged" if isinstance(fault, Corrupted) else "is refused"
        raise ServiceError(
            f"The same stretch of the upload {what} {MAX_REFUSALS} times: {fault.message}",
            hint="what was acknowledged is kept; where a server insists on one size of requests, `--request-size` "
            "names it: repeat the command with it, or `speechstream resume`",
        )


def no_space(fault: Fault) -> UploadRefused:
    """The error that a 507 becomes."""
    return UploadRefused(
        f"The service has no space for the upload: {fault.message}",
        hint="nothing is lost; when there is room: `speechstream resume`",
    )


def key_rejected(fault: Fault) -> KeyRejected:
    """The error that every 401 and 403 becomes: nothing lost, and the command that goes on."""
    return KeyRejected(
        f"The service did not accept the API key: {fault.message}",
        hint="nothing is lost; set SPEECHSTREAM_API_KEY to a valid key, then `speechstream resume`",
    )
