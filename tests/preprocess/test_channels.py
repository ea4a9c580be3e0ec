"""How channels are brought together: from what was heard, and in real recordings."""

from __future__ import annotations

import math
import struct
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from preprocess import Artifact, Mix, MixName, Sound, StreamInfo, mix_of, probe

Record = Callable[..., Path]
Prepare = Callable[..., Awaitable[Artifact]]
SPOKEN = Path(__file__).parents[2] / "fixtures" / "spoken.wav"


def heard(
    *levels_dbfs: float | None,
    correlation: float = 0.0,
    alone: tuple[float, float] = (0.0, 0.0),
    is_laid_out: bool = True,
) -> StreamInfo:
    """A stream in which that was heard."""
    sound = Sound(levels_dbfs, correlation, *alone, is_laid_out=is_laid_out)
    return StreamInfo(0, "audio", "pcm_s16le", 48_000, len(levels_dbfs), sound=sound)


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        (heard(-20.0), "mono"),
        (heard(-20.0, -20.0, correlation=1.0), "mono"),
        (heard(-20.0, -26.0, correlation=0.6, alone=(0.3, 0.3)), "mono"),
        (heard(-20.0, -20.0, correlation=0.1), "mono"),
        (heard(-20.0, -20.0, correlation=0.1, alone=(0.4, 0.06)), "mono"),
        (heard(-20.0, -20.0, correlation=0.1, alone=(0.4, 0.2)), "stereo"),
        (heard(-20.0, -40.0, correlation=-0.1, alone=(0.4, 0.2)), "stereo"),
        (heard(-20.0, -55.0, correlation=0.0, alone=(1.0, 0.0)), "mono"),
        (heard(-20.0, -80.0, alone=(1.0, 0.0)), "sum"),
        (heard(None, -20.0, alone=(0.0, 1.0)), "sum"),
        (heard(None, None), "mono"),
        (heard(-20.0, -20.0, correlation=-1.0), "subtract"),
        (heard(-20.0, -25.0, correlation=-0.8), "left"),
        (heard(-25.0, -20.0, correlation=-0.8), "right"),
        (heard(-20.0, -20.0, correlation=-0.5), "mono"),
        (heard(*[-20.0] * 6), "mono"),
        (heard(*[-20.0] * 3, is_laid_out=False), "even"),
        (heard(*[-20.0] * 12), "even"),
    ],
)
def test_what_was_heard_decides(stream: StreamInfo, name: MixName) -> None:
    """Each mix has its sign, and in doubt both sides are mixed."""
    assert mix_of(stream).name == name


def test_what_was_not_heard_is_mixed_as_usual() -> None:
    """Without a listening there is no reason to do anything special."""
    assert mix_of(StreamInfo(0, "audio", "aac", 48_000, 2)) == Mix("mono", "nothing is known of the channels")


def test_channels_whose_number_changes_are_mixed_as_they_were_heard() -> None:
    """Joined streams may begin with two channels and go on with one, whatever the header says."""
    stream = StreamInfo(0, "audio", "aac", 48_000, 2, sound=Sound((-20.0,)))

    assert mix_of(stream) == Mix("mono", "one channel")


def test_dead_tracks_of_a_recorder_cost_no_loudness() -> None:
    """Of eight inputs with one microphone, that one is not divided by eight; the others are still mixed in."""
    stream = heard(-90.0, -20.0, *[None] * 6, is_laid_out=False)

    assert mix_of(stream).filter == "pan=mono|c0=" + "+".join(f"1.000000*c{channel}" for channel in range(8))


PLAIN = "aresample=16000,aformat=channel_layouts=mono"


def turns(*, leak: float = 0.0, noise: float = 0.001) -> tuple[str, ...]:
    """ffmpeg's arguments for two voices that take turns of four seconds on two channels."""
    voices = f"[0]{PLAIN}[one];[1]asetrate=19200,{PLAIN}[two];[one][two]amerge=inputs=2[both]"
    one, two = "val(0)*lt(mod(t,8),4)", "val(1)*gte(mod(t,8),4)"
    hiss = [f"{noise}*(random({side})-0.5)" for side in (0, 1)]
    sides = f"{one}+{leak}*{two}+{hiss[0]}|{two}+{leak}*{one}+{hiss[1]}"
    graph = f"{voices};[both]aeval='{sides}':c=stereo[out]"
    return ("-i", str(SPOKEN), "-i", str(SPOKEN), "-filter_complex", graph, "-map", "[out]", "-t", "13")


def room(left: str, right: str) -> tuple[str, ...]:
    """ffmpeg's arguments for one voice that two microphones hear in their own way."""
    graph = f"[0]asplit[a][b];[a]{left},{PLAIN}[l];[b]{right},{PLAIN}[r];[l][r]amerge=inputs=2[out]"
    return ("-i", str(SPOKEN), "-filter_complex", graph, "-map", "[out]")


WALLS = [f"aecho=1:0.7:{delays_ms}:0.6|0.5|0.4|0.3" for delays_ms in ("23|41|67|101", "31|53|71|113")]
RECORDINGS: dict[str, tuple[MixName, tuple[str, ...]]] = {
    "interview": ("stereo", turns()),
    "interview with a leak of -20 dB": ("stereo", turns(leak=0.1)),
    "interview.opus": ("stereo", (*turns(), "-f", "ogg", "-c:a", "libopus", "-b:a", "64k")),
    "both voices panned by 6 dB": ("mono", turns(leak=0.5)),
    "two microphones in a room": ("mono", room(*WALLS)),
    "microphones a metre apart": ("mono", room("anull", "adelay=3,volume=-4dB")),
    "lavalier and camera": ("mono", room("anull", f"{WALLS[0]},volume=-20dB")),
    "plug the wrong way round": ("subtract", room("anull", "volume=-1")),
    "one cable unplugged": ("sum", room("anull", "volume=0")),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", RECORDINGS)
async def test_recordings_are_told_apart(record: Record, name: str) -> None:
    """Two speakers on two channels are; one room in two channels, however wide, is not."""
    expected, arguments = RECORDINGS[name]

    assert (await probe(record(f"{name}.wav", *arguments))).mix.name == expected


@pytest.mark.anyio
@pytest.mark.parametrize("recipe", ["standard", "lossless"])
async def test_two_speakers_stay_apart(record: Record, prepared: Prepare, recipe: str) -> None:
    """Each keeps a channel, and little of the other gets into it."""
    artifact = await prepared(record("interview.wav", *turns()), recipe)

    sound = (await probe(artifact.path)).audio.sound
    assert sound is not None
    assert len(sound.levels_dbfs) == 2
    assert abs(sound.correlation) < 0.05
    assert min(sound.left_alone, sound.right_alone) > 0.3


@pytest.mark.anyio
async def test_a_dead_side_costs_no_loudness(record: Record, prepared: Prepare) -> None:
    """The side that holds the voice is as loud in the artifact as in the recording."""
    path = record("unplugged.wav", *room("anull", "volume=0"))

    before = (await probe(path)).audio.sound
    after = (await probe((await prepared(path, "lossless")).path)).audio.sound
    assert before is not None
    assert after is not None
    assert after.levels_dbfs[0] == pytest.approx(before.levels_dbfs[0], abs=0.1)


@pytest.mark.anyio
async def test_no_track_of_a_recorder_is_dropped(tmp_path: Path, prepared: Prepare) -> None:
    """A voice on the third of three inputs is heard; ffmpeg would take that channel for a subwoofer."""
    path = tmp_path / "recorder.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(3)
        file.setsampwidth(2)
        file.setframerate(16_000)
        tone = (round(8000 * math.sin(2 * math.pi * 440 * n / 16_000)) for n in range(32_000))
        file.writeframes(b"".join(struct.pack("<3h", 0, 0, sample) for sample in tone))

    sound = (await probe((await prepared(path, "lossless")).path)).audio.sound

    assert sound is not None
    assert sound.levels_dbfs[0] == pytest.approx(-15.3, abs=0.2)
