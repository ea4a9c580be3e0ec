from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.runtime.manifest import Manifest
from tests.engine.world import Events, FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes only in sleep."""
    return FakeClock()


@pytest.fixture
def told() -> Events:
    """What was emitted."""
    return Events()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that is not there yet."""
    return tmp_path / "state"


@pytest.fixture
def manifest(state: Path) -> Iterator[Manifest]:
    """An open manifest in the state folder."""
    with Manifest(state) as manifest:
        yield manifest
