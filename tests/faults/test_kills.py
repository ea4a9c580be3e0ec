from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.kills import run
from tests.faults.verdict import Trial

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES = 20 << 20
RATE_BYTES_S = 16 << 20


def test_client_kills(tmp_path: Path) -> None:
    """Killed ten times, from planning to polling, the client makes one job of the right bytes and repeats little."""
    verdict = run(Trial(SIZE_BYTES, seed=1, kills=10, rate_bytes_s=RATE_BYTES_S), tmp_path)

    assert verdict.good, verdict.table()


@pytest.mark.long
def test_server_kills(tmp_path: Path) -> None:
    """Through three kills of the service one run of the client comes to its end by itself, and to one job."""
    verdict = run(Trial(SIZE_BYTES, seed=2, kills=0, server_kills=3, rate_bytes_s=RATE_BYTES_S), tmp_path)

    assert verdict.good, verdict.table()
