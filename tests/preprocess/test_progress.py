"""Reading ffmpeg's reports and log."""

from __future__ import annotations

import pytest

from preprocess.log import Log
from preprocess.progress import ProgressReader

FIRST = b"total_size=N/A\nout_time_us=N/A\nspeed=N/A\nprogress=continue\n"
SECOND = b"total_size=1000\nout_time_us=2500000\nspeed=54.3x\nprogress=continue\n"
LAST = b"total_size=1234\nout_time_us=3000000\nspeed=  60x\nprogress=end\n"


def test_blocks() -> None:
    """Numbers are taken as they come; what is not known yet stays unknown."""
    reader = ProgressReader()

    assert reader.feed(FIRST)
    assert (reader.done_s, reader.speed, reader.total_bytes, reader.ended) == (0.0, None, None, False)
    assert reader.feed(SECOND)
    assert (reader.done_s, reader.speed, reader.total_bytes, reader.ended) == (2.5, 54.3, 1000, False)
    assert reader.feed(LAST)
    assert (reader.done_s, reader.speed, reader.total_bytes, reader.ended) == (3.0, 60.0, 1234, True)


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_torn_reads(size: int) -> None:
    """Where the pipe cuts the text makes no difference."""
    text = FIRST + SECOND + LAST
    reader = ProgressReader()

    completed = [reader.feed(text[at : at + size]) for at in range(0, len(text), size)]

    assert completed.count(True) == 3
    assert (reader.done_s, reader.total_bytes, reader.ended) == (3.0, 1234, True)


def test_time_never_runs_backwards() -> None:
    """ffmpeg reports a negative time while the encoder's delay is subtracted; the bar stays where it was."""
    reader = ProgressReader()
    reader.feed(SECOND)
    reader.feed(b"out_time_us=-6500\nnonsense\nprogress=continue\n")

    assert reader.done_s == 2.5


def test_log_keeps_what_matters() -> None:
    """Warnings and errors are kept, chatter and metadata are not, and silence is added up."""
    log = Log()
    for line in (
        "[info]     title           : No such file or directory",
        "[aac @ 0x5] [verbose] ChannelElement 1.0 missing",
        "[Parsed_aresample_0 @ 0x7] [SWR @ 0x7f03] [verbose] adding 16384 audio samples of silence",
        "[Parsed_aresample_0 @ 0x7] [SWR @ 0x7f03] [verbose] adding 100 audio samples of silence",
        "[aac @ 0x5] [error] Input buffer exhausted before END element found",
        "[info] Exiting normally, received signal 15.",
    ):
        log.take(line)

    assert log.losses.filled_samples == 16484
    assert list(log.words) == [
        "[aac @ 0x5] [error] Input buffer exhausted before END element found",
        "[info] Exiting normally, received signal 15.",
    ]


def test_log_is_bounded() -> None:
    """A flood of errors does not fill memory."""
    log = Log()
    for number in range(10_000):
        log.take(f"[error] {number}")

    assert len(log.words) == 200
    assert log.words[-1] == "[error] 9999"
