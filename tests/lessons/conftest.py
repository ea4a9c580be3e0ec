from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from engine.core import plan as planning
from tests.engine.conftest import anyio_backend, clock, manifest, state, told
from tests.engine.desk import Desk
from tests.faults.scripted import ScriptedService
from tests.lessons.home import Home
from tests.lessons.shell import make_recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.world import FakeClock

__all__ = ["anyio_backend", "clock", "manifest", "state", "told"]


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """A service that does to requests what a test tells it."""
    with ScriptedService() as service:
        yield service


@pytest.fixture
def home(
    service: ScriptedService, tmp_path: Path, state: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Home:
    """A user before that service, with a recording of several requests and nothing of ours in the environment."""
    for name in [name for name in os.environ if name.startswith("SPEECHSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    return Home(service, make_recording(tmp_path, 3_000_000), state, clock)


@pytest.fixture
def desk(state: Path, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An upload of eight lanes that is about to begin, before a server in memory."""
    monkeypatch.setattr(planning, "PART_SIZE_BYTES", 100_000)
    monkeypatch.setattr(planning, "LEAST_LANE_BYTES", 300_000)
    desk = Desk(state, tmp_path / "artifact", clock)
    desk.prepare()
    return desk
