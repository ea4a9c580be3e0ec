"""Waits for a job's result: asks within the service's limits, through any weather, and never abandons it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..core import polling as policy
from ..core.lane import key_rejected
from ..errors import NoSuchJob, ServiceError, UnexpectedReply
from ..events import Polled
from ..faults import Gone, Intercepted, Nonsense, Refused, Unauthorized
from ..wire import service

if TYPE_CHECKING:
    from ..model import JobStatus
    from .exchange import Exchanger
    from .persist import Persistence
    from .turns import Turns

MAX_NONSENSE: Final = 5  # a torn reply passes; five in a row are what the service says
MAX_UNKNOWN: Final = 3  # an id may take a moment to be known everywhere


async def ask(
    endpoint: str, processing_id: str, exchanger: Exchanger, turns: Turns, persistence: Persistence
) -> JobStatus:
    """The service's answer to one status call, repeated through faults.

    Raises:
        KeyRejected: 401 or 403.
        NoSuchJob: the service does not know an id that is none of ours.
        ServiceError: it does not know one of ours, or refuses to answer.
        UnexpectedReply: it keeps answering something that is no status.
        GaveUp: no answer within the budget.
    """
    nonsense = unknown = 0

    async def attempt() -> JobStatus:
        nonlocal nonsense, unknown
        try:
            async with turns.status(persistence.job_id, processing_id):
                return await exchanger.converse(service.status(endpoint, processing_id))
        except Unauthorized as fault:
            raise key_rejected(fault) from fault
        except Refused as fault:
            raise ServiceError(f"The service refuses to say how job {processing_id} fares: {fault.message}") from fault
        except Intercepted:
            raise  # a portal's page says nothing of the service, however often it comes
        except Nonsense as fault:
            nonsense += 1
            if nonsense >= MAX_NONSENSE:
                raise UnexpectedReply(
                    f"The service's answer about job {processing_id} makes no sense: {fault.message}",
                    hint=f"the job is kept; ask again later: `speechstream wait {processing_id}`",
                ) from fault
            raise
        except Gone as fault:
            unknown += 1
            if unknown >= MAX_UNKNOWN:
                message = f"The service does not know job {processing_id}: {fault.message}"
                if persistence.job_id:
                    raise ServiceError(
                        message, hint="ask its operator; a new job: the recording with `--new`"
                    ) from fault
                raise NoSuchJob(message, hint="check the id, and SPEECHSTREAM_ENDPOINT") from fault
            raise

    answer: JobStatus = await persistence.until_answered(attempt, "Waiting for the transcript")
    return answer


async def until_done(
    endpoint: str, processing_id: str, exchanger: Exchanger, turns: Turns, persistence: Persistence
) -> str:
    """The transcription, however long it takes.

    Raises:
        JobFailed: the service could not transcribe the recording.
        SpeechStreamError: as `ask`.
    """
    clock = persistence.clock
    began_s = clock.monotonic()
    while True:
        answer = await ask(endpoint, processing_id, exchanger, turns, persistence)
        text = policy.outcome(answer)
        if text is not None:
            return text
        persistence.emit(Polled(persistence.job_id, processing_id, answer.status))
        await clock.sleep(policy.interval_s(clock.monotonic() - began_s))
