from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.faults.chaos.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("size_bytes", [0, 1, 43, 44, 45, 984, 100_001])
@pytest.mark.parametrize("header_last", [False, True])
def test_what_is_said_is_written(tmp_path: Path, size_bytes: int, header_last: bool) -> None:  # noqa: FBT001 - a column
    """Whatever its length, the file is in the end what was said, with its head put right last or not."""
    said, written = tmp_path / "said", tmp_path / "written"
    said.write_bytes(os.urandom(size_bytes))
    recorder = Recorder(said, takes_s=0.01)
    recorder.into_file(written, header_last=header_last)
    recorder.join()

    assert written.read_bytes() == said.read_bytes()


def test_a_pipe_that_nobody_reads_any_more_ends_the_saying(tmp_path: Path) -> None:
    """The reader was killed: the recorder is not, and leaves nothing behind."""
    said = tmp_path / "said"
    said.write_bytes(bytes(1_000_000))
    reading, writing = os.pipe()
    recorder = Recorder(said, takes_s=0.01)
    os.close(reading)
    recorder.into_pipe(os.fdopen(writing, "wb"))
    recorder.join()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)
