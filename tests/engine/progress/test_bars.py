"""What stands on a terminal while a job is on its way."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from engine.events import Checked, Opened, Polled, Prepared, Sealed, Submitted, Uploaded, Waiting
from engine.progress.bars import Bars
from tests.engine.world import JOB

if TYPE_CHECKING:
    from tests.engine.world import FakeClock

MB = 1_000_000


class Terminal(io.StringIO):
    """A terminal that keeps everything that was ever written to it."""

    @property
    def percents(self) -> list[int]:
        """Every percentage that was shown, in order."""
        return [int(found) for found in re.findall(r"(\d+)%", self.getvalue())]

    @property
    def last(self) -> str:
        """What was written last."""
        return re.sub(r"\x1b\[A", "", self.getvalue()).strip().rpartition("\r")[2]


@pytest.fixture
def terminal(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in made-up time."""
    monkeypatch.setattr("tqdm.std.time", clock.wall)
    return Terminal()


def test_a_job_that_waits_again_and_again(terminal: Terminal, clock: FakeClock) -> None:
    """However often it waits or is asked after, there is one line for it, and it goes with the next byte."""
    bars = Bars(terminal)
    bars(Opened(JOB.id, JOB.source, resumed=False))
    bars(Uploaded(JOB.id, 0, 100 * MB))
    for _ in range(3):
        clock.now_s += 1.0
        bars(Waiting(JOB.id, "the server cannot be reached", 5.0))
    assert terminal.last.startswith("interview.mp4: waiting 5.0 s: the server cannot be reached")
    clock.now_s += 1.0
    bars(Uploaded(JOB.id, 50 * MB, 100 * MB))
    assert terminal.percents[-1] == 50
    for _ in range(3):
        bars(Polled(JOB.id, "id-1", "processing"))
    bars(Submitted(JOB.id, "id-1"))
    bars.close()
    assert "the service is at work" in terminal.getvalue()


def test_a_hundred_percent_are_all_of_it(terminal: Terminal, clock: FakeClock) -> None:
    """One byte short of the end is not shown as the end, in any of the bars."""
    bars = Bars(terminal)
    for event in (Uploaded, Checked):
        for done in (0, 215_000 * MB - 1, 215_000 * MB):
            clock.now_s += 1.0
            bars(event(JOB.id, done, 215_000 * MB))
    bars.close()
    assert set(terminal.percents) == {0, 99, 100}


def test_nothing_of_nothing(terminal: Terminal) -> None:
    """Where the whole is not known yet, or is nothing, there is no percentage to stumble over."""
    bars = Bars(terminal)
    bars(Prepared(JOB.id, 3.0, None))
    bars(Prepared(JOB.id, 4.0, None, speed=40.0))
    for _ in range(2):
        bars(Checked(JOB.id, 0, 0))
        bars(Uploaded(JOB.id, 0, 0))
    bars.close()
    assert "4 s of sound" in terminal.getvalue()


def test_preparing_and_uploading_are_one_bar(terminal: Terminal, clock: FakeClock) -> None:
    """While it is encoded the bar is of what there will be to send; it never goes back, and ends as any upload."""
    bars = Bars(terminal)
    bars(Opened(JOB.id, JOB.source, resumed=False))
    bars(Prepared(JOB.id, 60.0, 600.0, speed=50.0))
    bars(Uploaded(JOB.id, 0, 1 * MB))
    for tenth in range(2, 10):
        clock.now_s += 1.0
        bars(Prepared(JOB.id, 60.0 * tenth, 600.0, speed=50.0))
        bars(Uploaded(JOB.id, (tenth - 1) * MB, tenth * MB + 3 * MB * (tenth % 2)))
    assert terminal.last.startswith("interview.mp4: ")
    assert "90 % prepared" in terminal.last
    bars(Sealed(JOB.id, 10 * MB, 100 * MB))
    bars(Uploaded(JOB.id, 10 * MB, 10 * MB))
    bars.close()
    assert terminal.percents == sorted(terminal.percents)
    assert terminal.percents[-1] == 100
    assert "prepared: 10.0 MB to send instead of 100.0 MB" in terminal.getvalue()


def test_what_keeps_it_slow_is_in_its_line(terminal: Terminal, clock: FakeClock) -> None:
    """A limit is shown beside what is on the way, as long as it holds; also while the recording is encoded."""
    bars = Bars(terminal)
    bars(Opened(JOB.id, JOB.source, resumed=False))
    for limit, said in ((2 * MB, ", limited to 2.0 MB/s, 1.0 MB on the way"), (500_000, "limited to 500.0 kB/s")):
        clock.now_s += 1.0
        bars(Uploaded(JOB.id, MB, 100 * MB, MB, limit_bytes_s=limit))
        assert said in terminal.last
    clock.now_s += 1.0
    bars(Uploaded(JOB.id, MB, 100 * MB, MB, polite=True))
    assert ", polite, 1.0 MB on the way" in terminal.last
    assert "limited" not in terminal.last
    bars.close()
    bars = Bars(terminal)
    bars(Uploaded("other", 0, MB, limit_bytes_s=MB))
    bars(Prepared("other", 10.0, 100.0))
    assert "limited to 1.0 MB/s" in terminal.last
