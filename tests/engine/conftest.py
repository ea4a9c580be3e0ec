from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from engine.runtime.manifest import Manifest
from tests.engine.house import CONTENT, House
from tests.engine.world import Events, FakeClock
from tests.faults.scripted import ScriptedService

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


@pytest.fixture
def house(tmp_path: Path, state: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A recording that nobody has sent yet, and an environment that holds nothing of ours."""
    for name in [name for name in os.environ if name.startswith("SPEECHSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    recording = tmp_path / "talk.mp4"
    recording.write_bytes(CONTENT)
    with ScriptedService() as service:
        yield House(service, recording, state, clock)
