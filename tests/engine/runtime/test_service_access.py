from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.config import load
from engine.errors import ConfigError
from engine.events import Warned
from engine.redaction import Secret
from engine.runtime.exchange import Exchanger
from engine.runtime.service_access import ServiceAccess
from tests.engine.world import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.engine.world import Events, FakeClock

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def access_to(endpoint: str, state: Path, clock: FakeClock, told: Events) -> AsyncIterator[ServiceAccess]:
    """One run's access, with a key, to a service that is configured so."""
    settings = load({"SPEECHSTREAM_ENDPOINT": endpoint, "SPEECHSTREAM_STATE_DIR": str(state), "HOME": str(state)})
    exchanger = Exchanger(clock, user_agent="test", transport=Script())
    try:
        async with anyio.create_task_group() as tasks:
            yield ServiceAccess(settings, exchanger, clock, tasks, told.append, Secret("sk-given"))
    finally:
        await exchanger.aclose()


@pytest.mark.parametrize(
    "rest", ["me:hunter2hunter2@h/v1", "me@h/v1", "h/v1?key=hunter2hunter2", "h/v1#hunter2hunter2"]
)
async def test_an_address_that_holds_a_secret(state: Path, clock: FakeClock, told: Events, rest: str) -> None:
    """It is refused before it can be stored, and the sentence shows none of it."""
    endpoint = f"https://{rest}"
    async with access_to(endpoint, state, clock, told) as access:
        with pytest.raises(ConfigError, match="holds more than scheme, host, port and path") as caught:
            await access.base_url(endpoint)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert "SPEECHSTREAM_API_KEY" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("endpoint", "warned"),
    [
        ("https://speech.example/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.2/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://speech.example/v1", True),
        ("http://192.168.1.2/v1", True),
        ("http://localhost.example/v1", True),
    ],
)
async def test_a_key_in_the_clear_is_told(
    state: Path,
    clock: FakeClock,
    told: Events,
    endpoint: str,
    warned: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Without TLS anyone on the way reads key and recording; once a run says so, unless nothing leaves the machine."""
    async with access_to(endpoint, state, clock, told) as access:
        assert await access.base_url(endpoint) == endpoint
        assert await access.base_url(endpoint) == endpoint
    assert ["is not https" in event.message for event in told.of(Warned) if isinstance(event, Warned)] == [
        True
    ] * warned
