from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.echo import EchoServer
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def anyio_backend() -> str:
    """The program runs on asyncio."""
    return "asyncio"


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """A server that sends everything back."""
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    """A proxy in front of the echo server, without a fault yet."""
    with FaultProxy("127.0.0.1", echo.port) as proxy:
        yield proxy
