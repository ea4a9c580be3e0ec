"""What a probe tells about recordings that are fine."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preprocess import NotMedia, find_ffmpeg, probe

pytestmark = pytest.mark.anyio
Record = Callable[..., Path]


async def test_video_with_sound(video: Path) -> None:
    """Container, streams and lengths are told in seconds, hertz and pixels."""
    info = await probe(video)

    assert info.path == video
    assert "mp4" in info.demuxers
    assert info.duration_s == pytest.approx(6, abs=0.1)
    assert info.has_video
    assert info.video is not None
    assert (info.video.codec, info.video.width, info.video.height) == ("h264", 320, 240)
    assert (info.audio.codec, info.audio.sample_rate_hz, info.audio.channels) == ("aac", 48000, 1)
    assert info.audio.duration_s == pytest.approx(6, abs=0.05)
    assert info.warnings == ()


async def test_cover_is_not_video(tone: Record, record: Record) -> None:
    """The cover of an mp3 is a picture, not a moving one."""
    cover = record("cover.png", "-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "1")
    mapping = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic")
    song = record("song.mp3", "-i", tone("plain.mp3"), "-i", cover, *mapping)

    info = await probe(song)

    assert [stream.kind for stream in info.streams] == ["audio", "video"]
    assert info.streams[1].attached_picture
    assert not info.has_video


async def test_default_track_is_chosen(record: Record) -> None:
    """Of two audio tracks the one marked as default is taken, wherever it stands."""
    tones = ("-f", "lavfi", "-i", "sine=f=300:d=2", "-f", "lavfi", "-i", "sine=f=900:d=2", "-map", "0", "-map", "1")
    languages = ("-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "language=eng")
    marks = ("-disposition:a:0", "0", "-disposition:a:1", "default")

    info = await probe(record("two.mkv", *tones, "-c:a", "flac", *languages, *marks))

    assert [stream.language for stream in info.audio_streams] == ["deu", "eng"]
    assert info.audio.index == 1
    assert info.audio.duration_s == pytest.approx(2, abs=0.05)


async def test_first_track_without_a_mark(record: Record) -> None:
    """Without a mark the first audio track is taken."""
    tones = ("-f", "lavfi", "-i", "sine=d=1", "-f", "lavfi", "-i", "sine=d=1:r=48000", "-map", "0", "-map", "1")

    info = await probe(record("unmarked.mkv", *tones, "-c:a", "flac", "-disposition:a", "0"))

    assert info.audio.index == 0


async def test_late_sound(late_video: Path) -> None:
    """Sound that begins after the picture has an offset, which belongs to its length on the time line."""
    info = await probe(late_video)

    assert info.audio_offset_s == pytest.approx(5, abs=0.1)
    assert info.audio_length_s == pytest.approx(11, abs=0.1)


async def test_cut_file_is_known_to_be_cut(cut_video: Path) -> None:
    """A cut file whose index came first still opens, with a warning."""
    info = await probe(cut_video)

    (warning,) = info.warnings
    assert re.search(r"'cut\.mp4' is [\d,]+ bytes shorter than its header says", warning)


async def test_cut_wav_is_known_to_be_cut(tmp_path: Path, tone: Record) -> None:
    """A cut WAV is told by the size in its header."""
    whole = tone("whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:100_000])

    assert "the copy is incomplete" in (await probe(tmp_path / "cut.wav")).warnings[0]


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
async def test_streamed_wav_is_not_called_cut(tmp_path: Path, tone: Record, size: int) -> None:
    """A WAV whose writer could not go back to fill in the size is whole."""
    content = bytearray(tone("whole.wav").read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    (tmp_path / "streamed.wav").write_bytes(content)

    assert (await probe(tmp_path / "streamed.wav")).warnings == ()


NAMES = [
    "a:b.wav",
    "shot%d.wav",
    "-y.wav",
    "two\nlines.wav",
    'it\'s "quoted".wav',
    "🎙 Aufnahme.wav",
    "concat:a|b.wav",
    "file:x.wav",
    "q?x=1&y#z.wav",
    "http:x.wav",
    " .wav",
]


@pytest.mark.parametrize("name", NAMES)
async def test_names_are_data(tmp_path: Path, tone: Record, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name never means anything but the file of that name, also as a relative path."""
    shutil.copy(tone("a.wav"), tmp_path / name)
    monkeypatch.chdir(tmp_path)

    info = await probe(name)

    assert info.path == tmp_path / name
    assert info.duration_s == pytest.approx(3)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse names that are not UTF-8")
async def test_name_that_is_not_text(tmp_path: Path, tone: Record) -> None:
    """A name from another age, with bytes that are no UTF-8, works."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    shutil.copy(tone("a.wav"), path)

    assert (await probe(path)).duration_s == pytest.approx(3)


async def test_link_is_followed(tmp_path: Path, tone: Record) -> None:
    """A link to a recording is the recording, under the link's name."""
    (tmp_path / "link.wav").symlink_to(tone("a.wav"))

    assert (await probe(tmp_path / "link.wav")).path == tmp_path / "link.wav"


async def test_opposite_channels_are_noticed(record: Record, opposite: Path) -> None:
    """A channel that is the other upside down is noticed; equal and unrelated channels are fine."""
    equal = record("equal.wav", "-i", opposite, "-af", "pan=stereo|c0=c0|c1=c0")
    tones = ("-f", "lavfi", "-i", "sine=f=300:d=2", "-f", "lavfi", "-i", "sine=f=700:d=2")
    unrelated = record("unrelated.wav", *tones, "-filter_complex", "amerge=inputs=2")

    assert (await probe(opposite)).mix.name == "subtract"
    assert (await probe(equal)).mix.name == "mono"
    assert (await probe(unrelated)).mix.name == "mono"


async def test_one_sided_recording_is_fine(record: Record, opposite: Path) -> None:
    """A second channel without sound cancels nothing and is no reason to complain."""
    info = await probe(record("left.wav", "-i", opposite, "-af", "pan=stereo|c0=c0|c1=0*c1"))

    assert not info.mix.rescues
    assert info.warnings == ()


async def test_rate_that_changes_in_mid_stream(tmp_path: Path, tone: Record) -> None:
    """A stream joined from two rates and channel counts is listened to all the way."""
    (tmp_path / "joined.aac").write_bytes(
        tone("low.aac", "-ac", "1", rate=22050).read_bytes() + tone("high.aac", "-ac", "2", rate=44100).read_bytes()
    )

    assert (await probe(tmp_path / "joined.aac")).warnings == ()


async def test_silence_is_told_before_it_is_paid_for(record: Record) -> None:
    """A recording without a signal is not refused, but the user is asked about the microphone."""
    info = await probe(record("mute.wav", "-f", "lavfi", "-i", "anullsrc=r=16000:d=20", "-t", "20"))

    assert "was the microphone on" in info.warnings[0]


async def test_sound_that_comes_late_in_a_recording(record: Record) -> None:
    """Silence at the start alone is no silence: later places are listened to."""
    late = record("pause.flac", "-f", "lavfi", "-i", "aevalsrc='gt(t,30)*sin(2764*t)':s=16000:d=60")

    assert (await probe(late)).warnings == ()


@pytest.fixture
def unlooked_for() -> Iterator[None]:
    """Nobody has looked for ffmpeg yet."""
    find_ffmpeg.cache_clear()
    yield
    find_ffmpeg.cache_clear()


@pytest.mark.usefixtures("unlooked_for")
@pytest.mark.parametrize("to_prepare", [True, False])
async def test_ffmpeg_is_found_while_the_probe_looks(tone: Record, *, to_prepare: bool) -> None:
    """Whoever is going to prepare finds ffmpeg found; who only wants to know does not look for it."""
    await probe(tone("tone.wav"), to_prepare=to_prepare)

    assert find_ffmpeg.cache_info().currsize == int(to_prepare)


@pytest.mark.usefixtures("unlooked_for")
async def test_recording_is_at_fault_before_the_tool_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any ffmpeg, a file that is no recording is still what is complained about."""
    monkeypatch.setenv("SPEECHSTREAM_FFMPEG", str(tmp_path / "none"))
    (tmp_path / "noise.wav").write_bytes(b"no sound" * 1000)

    with pytest.raises(NotMedia):
        await probe(tmp_path / "noise.wav", to_prepare=True)
