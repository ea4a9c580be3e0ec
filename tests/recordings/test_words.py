"""What was said arrives: from recordings of the corpus, through the service on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.corpus.page import ROWS
from fixtures.corpus.studio import Studio

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; sys.argv[0] = 'speechstream'; from engine.cli import main; main()"
NAMES = ("late.mp4", "nine.wav", "cut.mkv", "noise.mp4")


@pytest.mark.skipif("SPEECHSTREAM_FULL" not in os.environ, reason="recognises speech; set SPEECHSTREAM_FULL=1")
def test_words_arrive(tmp_path: Path) -> None:
    """A late, a many-channelled and a damaged recording are transcribed; noise makes no job."""
    studio = Studio(tmp_path)
    rows = {row.name: row for row in ROWS}
    made = [str(rows[name].make(studio)) for name in NAMES]
    command = [sys.executable, "-c", PROGRAM, "transcribe", "--local", "--recipe", "standard", "--progress", "none"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SPEECHSTREAM_STATE_DIR": str(tmp_path / "state")}

    done = subprocess.run(
        [*command, *made], env=environment, capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path
    )

    said = [part for part in done.stdout.split("== ") if part.strip()]
    assert done.returncode == 1, done.stderr
    assert len(said) == len(NAMES) - 1
    for part in said:
        assert "every voice tells a story" in part
    assert "9.9 s of 20.0 s could not be read, at 0:10.1-0:20.0" in done.stderr
    assert "'noise.mp4' is not an audio or video file" in done.stderr
