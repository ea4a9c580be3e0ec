"""Turns an upload into exactly one job: the submission by reference, repeated until it is answered."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..core.lane import key_rejected
from ..errors import UploadRefused
from ..events import Waiting
from ..faults import BadParts, Conflict, Gone, Refused, TooLarge, Unauthorized
from ..wire import service
from .together import explained

if TYPE_CHECKING:
    from ..model import Plan, Span
    from .exchange import Exchanger
    from .persist import Persistence
    from .turns import Turns

_COMPARING: Final = "the service compares what it has with what was sent"


class Why(Enum):
    """What the server finds wanting in an upload."""

    GONE = auto()
    INCOMPLETE = auto()
    DIFFERENT = auto()


class Lost(Struct, frozen=True):
    """Why the upload must go (on) before it can be submitted; `parts` are those that differ, where they are known."""

    why: Why
    parts: tuple[int, ...] = ()

    def touches(self, plan: Plan, span: Span) -> bool:
        """Whether one of the parts lies in `span`."""
        return not set(self.parts).isdisjoint(plan.parts_within(span))


async def submit(
    endpoint: str,
    submission: service.Submission,
    exchanger: Exchanger,
    turns: Turns,
    persistence: Persistence,
) -> str | Lost:
    """The processing_id, or why there can be none for this upload as it is.

    Raises:
        KeyRejected: 401 or 403.
        UploadRefused: the service will not make a job of it.
        GaveUp: no answer within the budget.
    """
    comparing = Waiting(persistence.job_id, _COMPARING, None)

    async def attempt() -> str | Lost:
        try:
            async with turns.upload(persistence.job_id), explained(turns.emit, comparing):
                return await exchanger.converse(service.submit(endpoint, submission))
        except BadParts as fault:
            return Lost(Why.DIFFERENT, fault.parts)
        except Gone:
            return Lost(Why.GONE)
        except Conflict:
            return Lost(Why.INCOMPLETE)
        except Unauthorized as fault:
            raise key_rejected(fault) from fault
        except (Refused, TooLarge) as fault:
            raise UploadRefused(f"The service will not make a job of the upload: {fault.message}") from fault

    answer: str | Lost = await persistence.until_answered(attempt, "The submission")
    return answer
