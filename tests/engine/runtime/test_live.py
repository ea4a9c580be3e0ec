from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.events import Polled, Uploaded, Waiting
from engine.runtime.live import LiveReader, LiveWriter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.world import Events, FakeClock


def uploaded(acked_bytes: int) -> Uploaded:
    return Uploaded("k3f9qz", acked_bytes, 1000)


def test_a_follower_sees_the_newest_event_once(tmp_path: Path, clock: FakeClock, told: Events) -> None:
    """However many events passed between two looks, each look gives the last one, and never the same twice."""
    writer, reader = LiveWriter(tmp_path, clock, told.append), LiveReader(tmp_path)
    assert reader.newest() is None
    for count in range(1, 6):
        for number in range(count):
            writer(Waiting("k3f9qz", f"round {count}", float(number)))
        assert reader.newest() == Waiting("k3f9qz", f"round {count}", float(count - 1))
        assert reader.newest() is None
    assert len(told) == 15


def test_frequent_events_are_written_a_few_times_a_second(tmp_path: Path, clock: FakeClock, told: Events) -> None:
    """Progress is passed on at once and written at intervals; what changes the picture is written always."""
    writer, reader = LiveWriter(tmp_path, clock, told.append), LiveReader(tmp_path)
    for acked in range(100):
        writer(uploaded(acked))
    assert reader.newest() == uploaded(0)
    assert len(told) == 100
    writer(Polled("k3f9qz", "id-1", "processing"))
    assert reader.newest() == Polled("k3f9qz", "id-1", "processing")
    clock.now_s += 0.3
    writer(uploaded(500))
    assert reader.newest() == uploaded(500)


@pytest.mark.parametrize(
    "content", [b"", b'{"event": "upl', b"[]", b'{"event": "teleported"}', b'{"event": "waiting"}', b"\xff"]
)
def test_what_another_version_left_is_not_shown(tmp_path: Path, content: bytes) -> None:
    """The file is a courtesy: whatever cannot be read is no event and no error."""
    (tmp_path / "live.json").write_bytes(content)
    assert LiveReader(tmp_path).newest() is None


def test_a_folder_that_is_gone_costs_no_upload(tmp_path: Path, clock: FakeClock, told: Events) -> None:
    """Nobody's progress bar is worth a failed upload."""
    LiveWriter(tmp_path / "gone", clock, told.append)(uploaded(1))
    assert told == [uploaded(1)]
