from __future__ import annotations

import io
from typing import TYPE_CHECKING

from engine.events import Counted, Failed, Opened, Prepared, Submitted, Uploaded, Waiting, Warned
from engine.progress.bars import Bars
from engine.progress.lines import Lines

if TYPE_CHECKING:
    import pytest

    from engine.events import Event
    from tests.engine.world import FakeClock


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(clock: FakeClock, *events: Event) -> str:
    """What is written, one state of a line after the other."""
    terminal = Terminal()
    bars = Bars(terminal)
    for event in events:
        clock.now_s += 1.0
        bars(event)
    bars.close()
    return terminal.getvalue().replace("\x1b[A", "").replace("\r", "\n")


TALK = Opened("a", "/recordings/talk.wav", resumed=False)
OTHER = Opened("b", "/recordings/other.wav", resumed=False)


def test_one_bar_for_all_and_a_line_for_each_under_way(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar counts what is done and what failed; a line says how far its recording is, and goes with it."""
    monkeypatch.setattr("tqdm.std.time", clock.wall)
    text = shown(
        clock,
        Counted(0, 0, None),
        TALK,
        OTHER,
        Prepared("a", 10.0, 60.0),
        Uploaded("b", 250_000, 1_000_000),
        Uploaded("b", 500_000, 1_000_000),
        Waiting("a", "the service takes 5 uploads a minute; waiting for a turn", 20.0),
        Counted(3, 1, 8),
        Submitted("b", "p1"),
        Counted(4, 1, 8),
    )
    assert "talk.wav" in text
    assert "500.0 kB of 1.0 MB sent" in text
    assert "waiting 20 s: the service takes 5 uploads a minute" in text
    last = text.rstrip().splitlines()[-1]
    assert last.startswith("recordings: 5 of 8")
    assert last.rstrip().endswith("1 failed")


def test_nothing_is_left_behind_by_a_recording_that_arrived() -> None:
    """A thousand recordings leave one line; a warning stays, with the name of the recording it is about."""
    events: list[Event] = [Counted(0, 0, 100)]
    for number in range(100):
        job = f"j{number}"
        events += [Opened(job, f"/r/{number}.wav", resumed=False), Uploaded(job, 1, 2), Submitted(job, "p")]
        events += [Counted(number + 1, 0, 100)]
    bars = Bars(Terminal())
    for event in [*events, TALK, Warned("a", "0.5 s are missing")]:
        bars(event)
    assert bars._many is not None
    assert (bars._many._lines, list(bars._many._names)) == ({}, ["a"])
    assert "talk.wav: warning: 0.5 s are missing" in bars._stream.getvalue()  # type: ignore[attr-defined]  # a Terminal
    bars.close()


def test_a_log_says_whose_news_it_is_where_there_are_many() -> None:
    """One recording needs no name on every line; of many, each line has one until its recording is through."""
    out = io.StringIO()
    lines = Lines(out)
    for event in (Counted(0, 0, 2), TALK, OTHER, Submitted("b", "p1"), Failed("a", "X", "no", None, resumable=False)):
        lines(event)
    assert out.getvalue().splitlines() == [
        "talk.wav: new job a",
        "other.wav: new job b",
        "other.wav: the service has it as p1",
    ]
    assert lines._names == {}
