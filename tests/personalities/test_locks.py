"""A server whose upload is still held by a connection that is long dead keeps nobody from going on."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.command import Command, environment
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.personalities.locks import LockingTusd
from tests.personalities.server import PersonalServer

if TYPE_CHECKING:
    from pathlib import Path

RECORDING_BYTES = 3_000_001
PATIENCE_S = 60.0
HELD_S = 4.0  # long enough to be met more than once


@pytest.mark.long
@pytest.mark.parametrize("releases", [True, False], ids=["let-go-when-asked", "held-to-its-deadline"])
def test_a_dead_connection_holds_the_lock(tmp_path: Path, releases: bool) -> None:  # noqa: FBT001 - a column
    """Killed with its link, our client goes on behind what arrived: no second upload, no byte of it twice."""
    recording = tmp_path / "recording.bin"
    recording.write_bytes(random.Random(6).randbytes(RECORDING_BYTES))
    surroundings = environment(tmp_path / "state", "http://127.0.0.1:9/v1")
    with PersonalServer(tusd := LockingTusd(releases=releases)) as server, FaultProxy("127.0.0.1", server.port) as line:
        words = ("send", str(recording), "--to", f"http://127.0.0.1:{line.port}/files")
        line.plan = Plan(otherwise=Fault(rate_bytes_per_s=RECORDING_BYTES))
        with Command(words, surroundings) as command:
            until = time.monotonic() + PATIENCE_S
            while line.bytes_up < RECORDING_BYTES // 2 and time.monotonic() < until:
                time.sleep(0.01)
            line.black_hole_all()
            assert command.kill() == -9
        arrived = len(tusd.uploads["u1"].content)
        line.plan = Plan()
        hearing = threading.Timer(HELD_S, line.restore_all)
        if not releases:
            hearing.start()
        with Command(words, surroundings) as command:
            code, printed = command.finish()
        hearing.cancel()

    assert code == 0, command.complaints
    assert printed.strip().endswith("/files/u1")
    assert tusd.uploads["u1"].content == recording.read_bytes()
    assert arrived > 0
    assert line.bytes_up < RECORDING_BYTES + (1 << 20)
    assert releases or tusd.refused
