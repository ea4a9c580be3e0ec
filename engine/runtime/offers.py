"""What servers say they offer: asked when somebody has to know, or ahead, while there is something else to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from ..faults import Fault, Interrupted
from ..wire import tus

if TYPE_CHECKING:
    from ..model import Capabilities
    from .exchange import Exchanger


@dataclass(slots=True)
class _Question:
    """One that is under way until `settled`."""

    settled: anyio.Event = field(default_factory=anyio.Event)
    found: Capabilities | None = None
    fault: Fault | None = None


class Offers:
    """Asks servers at their creation URLs. Every answer that was asked ahead is given out once."""

    def __init__(self, exchanger: Exchanger) -> None:
        self._exchanger = exchanger
        self._ahead: dict[str, _Question] = {}

    async def ask_ahead(self, creation_url: str) -> None:
        """Ask now, for who wants to know soon. A fault is theirs."""
        question = self._ahead[creation_url] = _Question()
        question.fault = Interrupted("the question was not asked to its end")
        try:
            question.found = await self._exchanger.converse(tus.discover(creation_url))
            question.fault = None
        except Fault as fault:
            question.fault = fault
        finally:
            question.settled.set()

    async def of(self, creation_url: str) -> Capabilities | None:
        """What the server offers; None if it does not speak tus.

        Raises:
            Fault: nothing was learnt; ask again.
        """
        question = self._ahead.pop(creation_url, None)
        if question is None:
            return await self._exchanger.converse(tus.discover(creation_url))
        await question.settled.wait()
        if question.fault is not None:
            raise question.fault
        return question.found
