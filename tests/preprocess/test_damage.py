"""How much of a recording is lost, and where, as a person is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess import MediaInfo, StreamInfo
from preprocess.damage import Damage, Hole, assess, complaints, describe, find_holes
from preprocess.log import Log, Losses
from preprocess.timeline import clock

RATE_HZ = 48_000


def recording(length_s: float | None = 100.0, format_name: str = "mov,mp4", start_s: float = 0.0) -> MediaInfo:
    """A recording that says so much of itself."""
    stream = StreamInfo(0, "audio", "aac", RATE_HZ, 1, start_s=start_s, duration_s=length_s)
    return MediaInfo(Path("/nowhere/a.mp4"), 1000, format_name, length_s, 0.0, None, (stream,))


def filled(seconds: float, *, is_broken: bool = False) -> Losses:
    return Losses(int(seconds * RATE_HZ), is_broken)


@pytest.mark.parametrize(
    ("info", "length_s", "losses", "missing_s", "silent_s"),
    [
        (recording(), 100.0, Losses(), 0, 0),
        (recording(), 99.6, Losses(), 0, 0),
        (recording(), 90.0, Losses(), 10, 0),
        (recording(), 101.0, Losses(), -1, 0),
        (recording(10_000.0), 9_991.0, Losses(), 0, 0),
        (recording(10_000.0), 9_989.0, Losses(), 11, 0),
        (recording(), 100.0, filled(3), 0, 3),
        (recording(95.0, start_s=5.0), 100.0, filled(5), 0, 0),
        (recording(95.0, start_s=5.0), 100.0, filled(8), 0, 3),
        (recording(None), 50.0, Losses(), 0, 0),
        (recording(None), 50.0, filled(3), 0, 3),
        (recording(format_name="mp3"), 80.0, Losses(), 0, 0),
        (recording(format_name="mp3"), 80.0, Losses(is_broken=True), 20, 0),
    ],
)
def test_quick_signs(info: MediaInfo, length_s: float, losses: Losses, missing_s: float, silent_s: float) -> None:
    """A header is right to half a second or a thousandth; a late start is no damage; a guess alone proves nothing."""
    damage = assess(info, length_s, losses)

    assert (damage.missing_s, damage.silent_s) == pytest.approx((missing_s, silent_s))


FIVE = "0:10.0-0:11.0, 0:20.0-0:21.0, 0:30.0-0:31.0, 0:40.0-0:41.0, 0:50.0-0:51.0 and 3 more places"
HOLES = tuple(Hole(10.0 * n, 10.0 * n + 1) for n in range(1, 9))


@pytest.mark.parametrize(
    ("damage", "holes", "is_exact", "sentences"),
    [
        (
            Damage(100.0, missing_s=2),
            (Hole(98, 100),),
            True,
            ("The recording is damaged or incomplete: 2.0 s of 100.0 s could not be read, at 1:38.0-1:40.0.",),
        ),
        (
            Damage(100.0, missing_s=2),
            (),
            False,
            ("The recording is damaged or incomplete: about 2.0 s of 100.0 s could not be read.",),
        ),
        (
            Damage(100.0, silent_s=8),
            HOLES,
            True,
            (f"The recording has gaps: 8.0 s in it hold no readable sound and stay silent, at {FIVE}.",),
        ),
        (
            Damage(100.0, silent_s=2),
            (Hole(5, 6), Hole(6.5, 7.5)),
            True,
            ("The recording has gaps: 2.0 s in it hold no readable sound and stay silent, at 0:05.0-0:07.5.",),
        ),
        (
            Damage(100.0, is_broken=True),
            (Hole(3, 3.25),),
            True,
            ("The recording is damaged: 0.2 s of it could not be read, at 0:03.0-0:03.2.",),
        ),
        (Damage(100.0, is_broken=True), (Hole(3, 3.06),), True, ()),
        (Damage(100.0, is_broken=True), (), True, ()),
    ],
)
def test_sentences(damage: Damage, holes: tuple[Hole, ...], is_exact: bool, sentences: tuple[str, ...]) -> None:  # noqa: FBT001 - a case's
    """Seconds and places, the first few of them; nothing about what nobody would hear."""
    assert describe(damage, holes, is_exact=is_exact) == sentences


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (9.96, "0:10.0"), (59.96, "1:00.0"), (3599.97, "1:00:00.0"), (90_061.25, "25:01:01.2")],
)
def test_clock(seconds: float, text: str) -> None:
    """Places are written as players show them, rounded once."""
    assert clock(seconds) == text


@pytest.mark.anyio
async def test_healthy_recording_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sign of damage nothing is read again."""
    monkeypatch.setattr("preprocess.damage.ask", None)

    assert await complaints(recording(), 100.0, Losses()) == ()
    assert await complaints(recording(), 102.0, Losses()) == (
        "The recording is 2.0 s longer than its header says (100.0 s).",
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    "program", ["import os; os.abort()", "print('nonsense')", "print('{}')", "import time; time.sleep(60)"]
)
async def test_places_that_cannot_be_found(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the second reading fails the user still learns how much is missing."""
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr("preprocess.damage._CHILD", tmp_path / "child.py")
    monkeypatch.setattr("preprocess.damage._LEAST_PATIENCE_S", 1)
    monkeypatch.setattr("preprocess.damage._SLOWEST", 1000)

    assert await find_holes(recording()) == ()
    assert await complaints(recording(), 90.0, Losses()) == (
        "The recording is damaged or incomplete: 10.0 s of 100.0 s could not be read.",
    )


@pytest.mark.parametrize(
    ("line", "is_broken"),
    [
        ("[aist#0:0/mp3 @ 0x1] [dec:mp3float @ 0x2] [error] Error submitting packet to decoder: Invalid data", True),
        ("[mov,mp4,m4a,3gp,3g2,mj2 @ 0x1] [error] stream 0, offset 0x3a9: partial file", True),
        ("[matroska,webm @ 0x1] [error] File ended prematurely at pos. 81100 (0x13ccc)", True),
        ("[in#0/mov @ 0x1] [warning] corrupt input packet in stream 0", True),
        ("[info]     title           : My corrupt state", False),
        ("[opus @ 0x1] [error] Error parsing Opus packet header.", False),
        ("[s16le @ 0x1] [warning] Application provided invalid, non monotonically increasing dts to muxer", False),
    ],
)
def test_signs_in_the_log(line: str, is_broken: bool) -> None:  # noqa: FBT001 - a case's
    """What ffmpeg says of broken packets counts; titles, false alarms and its own output's affairs do not."""
    log = Log()

    log.take(line)

    assert log.losses.is_broken is is_broken
