from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.core import plan as planning
from tests.engine.conftest import anyio_backend, clock, manifest, state, told
from tests.engine.desk import Desk
from tests.faults.scripted import ScriptedService
from tests.lessons.shell import Shell, make_recording

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
def shell(service: ScriptedService, tmp_path: Path) -> Shell:
    """A user before that service, with a recording of several requests."""
    return Shell(service.endpoint, tmp_path, make_recording(tmp_path, 3_000_000))


@pytest.fixture
def desk(state: Path, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An upload of eight lanes that is about to begin, before a server in memory."""
    monkeypatch.setattr(planning, "PART_SIZE_BYTES", 100_000)
    monkeypatch.setattr(planning, "LEAST_LANE_BYTES", 300_000)
    desk = Desk(state, tmp_path / "artifact", clock)
    desk.prepare()
    return desk
