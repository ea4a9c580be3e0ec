"""One upload of many lanes: the server is asked to join them, ahead of their end where it can, and whether it did."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from .core.lane import key_rejected, no_space
from .errors import InternalError
from .events import Waiting, Warned
from .faults import Conflict, Fault, Gone, NoSpace, Refused, TooLarge, Unauthorized
from .redaction import Secret
from .runtime.together import explained
from .wire import tus
from .wire.address import relative_to, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .model import JobRecord, Lane
    from .runtime.crew import Crew
    from .runtime.persist import Persistence
    from .wire.interface import TusWire
    from .wire.message import Conversation

T = TypeVar("T")
log = logging.getLogger("speechstream.upload")
_WILL_NOT_JOIN: Final = (Gone, Conflict, Refused, TooLarge)


class Joining(Struct):
    """The joining of one job's lanes.

    The joined upload's address is committed before anything else is asked: a server may drop lanes with the join.
    """

    job_id: str
    base_url: str
    wire: TusWire
    crew: Crew
    persistence: Persistence
    _ahead_of: list[Lane] | None = None

    async def take_up(self, lanes: Sequence[Lane], total_bytes: int) -> bool:
        """Where an earlier run had lanes joined ahead of their end: whether they came to it all the same.

        If not, that joined upload is forgotten, as the lanes may be divided otherwise from here on.
        """
        if self._job.joined_url is None or all(lane.complete for lane in lanes):
            return False
        if await self._is_whole(total_bytes):
            for lane in lanes:
                size = lane.span.size_bytes
                self.crew.manifest.save_lane(self.job_id, replace(lane, acked_bytes=size, offered_bytes=size))
            return True
        self._forget()
        return False

    async def ahead(self) -> None:
        """Ask for the join while the last bytes of every lane are under way (tus 1.0.0, concatenation-unfinished).

        That saves a round trip. It is asked once; what comes of it is seen when the lanes are complete.
        """
        lanes = self.crew.manifest.lanes(self._job)
        if any(lane.url is None for lane in lanes):
            return
        log.info("job %s: joining %d lanes ahead of their end", self.job_id, len(lanes))
        with contextlib.suppress(Fault):
            joined = await self.crew.exchanger.converse(self.wire.join(self._absolute(lanes), self._job.join_count))
            self._keep(joined.url)
            self._ahead_of = lanes

    async def join(self, lanes: Sequence[Lane]) -> bool:
        """Make one upload of all lanes, unless that was done, and make sure that it is whole.

        False where the server says that it cannot: something of the lanes is not there as we believe.

        Raises:
            KeyRejected: 401 or 403.
            UploadRefused: no room for it.
            GaveUp: no answer within the budget.
        """
        if self._ahead_of is not None and not _are_the_same(self._ahead_of, lanes):
            self._forget()
        self._ahead_of = None
        if self._job.joined_url is None:
            log.info("job %s: joining %d lanes", self.job_id, len(lanes))
            reason = f"the server puts the {len(lanes)} lanes of the upload together"
            whole, count = self._absolute(lanes), self._job.join_count
            async with explained(self.crew.emit, Waiting(self.job_id, reason, None)):
                joined = await self._asked(lambda: self.wire.join(whole, count), "Joining the lanes")
            if joined is None:
                return self._unjoined()
            self._keep(joined.url)
        return await self._is_whole(lanes[-1].span.stop) or self._unjoined()

    @property
    def _job(self) -> JobRecord:
        return self.crew.manifest.job(self.job_id)

    def _keep(self, url: Secret) -> None:
        self.crew.manifest.note(self.job_id, joined_url=Secret(relative_to(self.base_url, url.reveal())))

    def _forget(self) -> None:
        self.crew.manifest.note(self.job_id, joined_url=None, join_count=self._job.join_count + 1)

    def _unjoined(self) -> bool:
        message = "the server did not join the lanes; they are asked where they stand"
        self.crew.emit(Warned(self.job_id, message))
        self._forget()
        return False

    async def _is_whole(self, total_bytes: int) -> bool:
        url = self._job.joined_url
        if url is None:
            return False
        address = resolve(self.base_url, url.reveal())
        standing = await self._asked(lambda: tus.locate_joined(address), "Asking for the joined upload")
        if standing is None:
            return False
        return standing.offset_bytes == total_bytes and standing.length_bytes in {None, total_bytes}

    async def _asked(self, conversation: Callable[[], Conversation[T]], doing: str) -> T | None:
        """The answer, or None where the server says no to what is asked."""

        async def attempt() -> T | None:
            try:
                return await self.crew.exchanger.converse(conversation())
            except _WILL_NOT_JOIN as fault:
                log.info("%s: %s", doing, fault.message)
                return None
            except Unauthorized as fault:
                raise key_rejected(fault) from fault
            except NoSpace as fault:
                raise no_space(fault) from fault

        answer: T | None = await self.persistence.until_answered(attempt, doing)
        return answer

    def _absolute(self, lanes: Sequence[Lane]) -> list[Lane]:
        return [replace(lane, url=self._address(lane)) for lane in lanes]

    def _address(self, lane: Lane) -> Secret:
        if lane.url is None:
            raise InternalError(f"job {self.job_id} has a lane without an address")
        return resolve(self.base_url, lane.url.reveal())


def _are_the_same(before: Sequence[Lane], now: Sequence[Lane]) -> bool:
    """Whether it is the same resources that make up the artifact, each with the same bytes."""
    return [(lane.url, lane.span) for lane in before] == [(lane.url, lane.span) for lane in now]
