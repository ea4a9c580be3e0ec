"""How often a recording is looked into."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.preparing import Looks
from preprocess import RecordingError, probing
from preprocess.child import ask

if TYPE_CHECKING:
    from preprocess.child import Answer

pytestmark = pytest.mark.anyio
SPOKEN = Path(__file__).parents[2] / "fixtures" / "spoken.wav"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for every child that looked."""
    found: list[object] = []

    async def counted(*args: object, **options: object) -> Answer:
        found.append(args)
        return await ask(*args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(probing, "ask", counted)
    return found


async def test_a_recording_is_looked_into_once(tmp_path: Path, asked: list[object]) -> None:
    """However many stages of its job want to know, for as long as it stays what it is."""
    recording = Path(shutil.copy(SPOKEN, tmp_path / "talk.wav"))
    looks = Looks()
    first = await looks.into(recording, None)
    assert await looks.into(recording, None) is first
    assert len(asked) == 1
    assert (await looks.into(recording, "1")).path == first.path
    assert len(asked) == 2
    os.utime(recording, ns=(1, 1))
    await looks.into(recording, None)
    assert len(asked) == 3


async def test_what_is_no_recording_is_looked_into_again(tmp_path: Path, asked: list[object]) -> None:
    """It may be one by then."""
    looks, file = Looks(), tmp_path / "talk.wav"
    file.write_bytes(b"RIFF....WAVE" + bytes(100))
    for _ in range(2):
        with pytest.raises(RecordingError):
            await looks.into(file, None)
    assert len(asked) == 2


async def test_only_the_latest_are_kept(tmp_path: Path, asked: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of ten thousand recordings takes no memory."""
    monkeypatch.setattr("engine.preparing._LOOKS_KEPT", 1)
    looks = Looks()
    for name in ("a.wav", "b.wav", "a.wav"):
        await looks.into(Path(shutil.copy(SPOKEN, tmp_path / name)), None)
    assert len(asked) == 3
