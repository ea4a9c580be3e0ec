"""The two calls most programs need, for code that is not asynchronous: a thin portal into `Client`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from anyio.from_thread import start_blocking_portal

from .client import Client, ClientSettings

if TYPE_CHECKING:
    import os

    from .model import Receipt, Transcript


def transcribe(recording: str | os.PathLike[str], **settings: Unpack[ClientSettings]) -> Transcript:
    """The transcript of a recording; blocks until it is there. Takes the settings of `Client`.

    May be repeated after any interruption. Also works where an event loop runs already.

    Raises:
        SpeechStreamError: as `Client.transcribe`.
    """

    async def work() -> Transcript:
        async with Client(**settings) as client:
            return await client.transcribe(recording)

    with start_blocking_portal() as portal:
        return portal.call(work)


def upload(recording: str | os.PathLike[str], **settings: Unpack[ClientSettings]) -> Receipt:
    """The processing_id of a recording; blocks until the service has it. Takes the settings of `Client`.

    Raises:
        SpeechStreamError: as `Client.upload`.
    """

    async def work() -> Receipt:
        async with Client(**settings) as client:
            return await client.upload(recording)

    with start_blocking_portal() as portal:
        return portal.call(work)
