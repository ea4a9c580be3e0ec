"""From recording to artifact, undisturbed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from preprocess import Artifact, Ffmpeg, PreparingEvent, Progress, SourceChanged, Wish, decide, prepare, probe

pytestmark = pytest.mark.anyio
Record = Callable[..., Path]
Prepare = Callable[..., Awaitable[Artifact]]


def decoded(ffmpeg: Ffmpeg, path: Path, rate_hz: int = 16_000) -> bytes:
    """The artifact's sound as 16-bit mono samples."""
    command = [ffmpeg.path, "-nostdin", "-v", "error", "-i", str(path), "-ac", "1", "-ar", str(rate_hz)]
    return subprocess.run([*command, "-f", "s16le", "-"], check=True, capture_output=True).stdout


def loud_from_s(samples: bytes, rate_hz: int = 16_000) -> float:
    """When the sound begins, in seconds."""
    values = memoryview(samples).cast("h")
    return next(n for n, value in enumerate(values) if abs(value) > 1000) / rate_hz


@pytest.mark.parametrize(
    ("wish", "name", "media_type"),
    [
        ("standard", "artifact.ogg", "audio/ogg; codecs=opus"),
        ("lossless", "artifact.oga", "audio/ogg; codecs=flac"),
        ("copy", "artifact.m4a", "audio/mp4"),
        ("video", "artifact.mp4", "video/mp4"),
    ],
)
async def test_every_recipe(
    prepared: Prepare, video: Path, tmp_path: Path, ffmpeg: Ffmpeg, wish: Wish, name: str, media_type: str
) -> None:
    """Each recipe makes one whole artifact, private to its user, that plays as long as the recording."""
    artifact = await prepared(video, wish)

    assert artifact.path == tmp_path / "spool" / name
    assert artifact.media_type == media_type
    assert artifact.size_bytes == artifact.path.stat().st_size
    assert artifact.duration_s == pytest.approx(6, abs=0.05)
    assert artifact.warnings == ()
    assert artifact.ffmpeg_version == ffmpeg.version
    assert not artifact.is_source
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert artifact.path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["artifact.json", name]
    assert len(decoded(ffmpeg, artifact.path)) / 32_000 == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("wish", ["standard", "lossless", "copy", "video"])
async def test_same_bytes_twice(prepared: Prepare, video: Path, tmp_path: Path, wish: Wish) -> None:
    """The same recording and recipe give the same bytes, so what was sent before a crash still holds."""
    once = await prepared(video, wish, tmp_path / "once")
    twice = await prepared(video, wish, tmp_path / "twice")

    assert once.path.read_bytes() == twice.path.read_bytes()


async def test_as_is_copies_nothing(prepared: Prepare, video: Path, tmp_path: Path) -> None:
    """`as-is` is the recording itself; no folder is made for it."""
    artifact = await prepared(video, "as-is")

    assert artifact.is_source
    assert (artifact.path, artifact.media_type, artifact.suffix) == (video, "video/mp4", ".mp4")
    assert not (tmp_path / "spool").exists()


async def test_finished_artifact_is_reused(
    prepared: Prepare, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run takes the finished artifact without running ffmpeg."""
    first = await prepared(video)
    monkeypatch.setattr("preprocess.run.leashed", None)
    monkeypatch.setattr("preprocess.child.leashed", None)

    assert await prepared(video) == first


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "record gone", "record torn"])
async def test_damaged_artifact_is_made_again(prepared: Prepare, video: Path, tmp_path: Path, damage: str) -> None:
    """An artifact that is no longer what its record says is not trusted, and comes out the same again."""
    first = await prepared(video)
    content = first.path.read_bytes()
    sidecar = tmp_path / "spool" / "artifact.json"
    match damage:
        case "changed":
            first.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            first.path.write_bytes(content[:-100])
        case "gone":
            first.path.unlink()
        case "record gone":
            sidecar.unlink()
        case _:
            sidecar.write_text('{"schema": 1, "mak')

    assert await prepared(video) == first
    assert first.path.read_bytes() == content


async def test_another_ffmpeg_makes_its_own(prepared: Prepare, video: Path, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Other versions write other bytes, so an artifact of another one is not reused."""
    await prepared(video)
    info = await probe(video)
    reports: list[PreparingEvent] = []
    other = Ffmpeg(ffmpeg.path, "0.other", "0")

    artifact = await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=other, report=reports.append)

    assert artifact.ffmpeg_version == "0.other"
    assert reports


async def test_progress_only_moves_forward(prepared: Prepare, video: Path) -> None:
    """Reports grow, the watermark never passes what is written, and the last report is the whole."""
    reports: list[Progress] = []

    artifact = await prepared(video, report=reports.append)

    assert [r.done_s for r in reports] == sorted(r.done_s for r in reports)
    assert [r.watermark_bytes for r in reports] == sorted(r.watermark_bytes for r in reports)
    assert all(r.watermark_bytes <= r.bytes_written for r in reports)
    assert reports[-1].watermark_bytes == reports[-1].bytes_written == artifact.size_bytes
    assert reports[-1].total_s == pytest.approx(6, abs=0.1)


async def test_late_sound_stays_late(prepared: Prepare, late_video: Path, ffmpeg: Ffmpeg) -> None:
    """Sound that begins at second five begins there in the artifact, and that is not called a gap."""
    artifact = await prepared(late_video)

    assert loud_from_s(decoded(ffmpeg, artifact.path)) == pytest.approx(5, abs=0.1)
    assert artifact.duration_s == pytest.approx(11, abs=0.1)
    assert artifact.warnings == ()


async def test_late_sound_in_kept_video(prepared: Prepare, late_video: Path, ffmpeg: Ffmpeg) -> None:
    """A kept video keeps its sound where it was."""
    artifact = await prepared(late_video, "video")

    assert artifact.duration_s == pytest.approx(11, abs=0.2)


async def test_telephone_stays_telephone(prepared: Prepare, tone: Record, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """8 kHz speech is not resampled upwards."""
    artifact = await prepared(tone("call.wav", rate=8000))
    info = await probe(artifact.path)
    lossless = await probe((await prepared(tone("call.wav", rate=8000), "lossless", tmp_path / "l")).path)

    opus_head = artifact.path.read_bytes()[28:]
    assert opus_head.startswith(b"OpusHead")
    assert int.from_bytes(opus_head[12:16], "little") == 8000
    assert info.duration_s == pytest.approx(3, abs=0.05)
    assert lossless.audio.sample_rate_hz == 8000


async def test_lossless_is_lossless(prepared: Prepare, tone: Record, ffmpeg: Ffmpeg) -> None:
    """A recording that already has the rate and width of speech comes back bit for bit."""
    source = tone("speech.wav", rate=16000)

    artifact = await prepared(source, "lossless")

    assert decoded(ffmpeg, artifact.path) == decoded(ffmpeg, source)


@pytest.mark.parametrize("wish", ["standard", "lossless"])
async def test_opposite_channels_are_heard(prepared: Prepare, opposite: Path, ffmpeg: Ffmpeg, wish: Wish) -> None:
    """Channels that would mix to silence come out as loud as they were."""
    samples = memoryview(decoded(ffmpeg, (await prepared(opposite, wish)).path)).cast("h")

    assert max(samples) > 3000


async def test_cover_is_left_out(prepared: Prepare, tone: Record, record: Record) -> None:
    """The cover of an mp3 does not become a video track of the artifact."""
    cover = record("cover.png", "-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "1")
    song = record("song.mp3", "-i", tone("plain.mp3"), "-i", cover, "-map", "0", "-map", "1", "-c", "copy")

    artifact = await prepared(song)

    assert [stream.kind for stream in (await probe(artifact.path)).streams] == ["audio"]


async def test_marked_track_is_encoded(prepared: Prepare, record: Record, ffmpeg: Ffmpeg) -> None:
    """Of two tracks the chosen one is heard."""
    tones = ("-f", "lavfi", "-i", "anullsrc=r=48000:d=2", "-f", "lavfi", "-i", "sine=d=2", "-map", "0", "-map", "1")
    marks = ("-disposition:a:0", "0", "-disposition:a:1", "default")

    artifact = await prepared(record("silent-first.mkv", *tones, "-c:a", "flac", "-t", "2", *marks))

    assert loud_from_s(decoded(ffmpeg, artifact.path)) < 0.1


async def test_odd_sized_video(prepared: Prepare, record: Record) -> None:
    """Pictures with odd sides and ten-bit colours can be kept too."""
    picture = ("-f", "lavfi", "-i", "testsrc2=s=161x121:r=5:d=2,format=yuv444p10le", "-c:v", "ffv1")
    odd = record("odd.mkv", *picture[:4], "-f", "lavfi", "-i", "sine=d=2", *picture[4:])

    kept = await probe((await prepared(odd, "video")).path)

    assert kept.video is not None
    assert (kept.video.width, kept.video.height) == (160, 120)


@pytest.mark.parametrize("name", ["a:b%d.wav", "-y.wav", "two\nli'n\"es 🎙.wav"])
async def test_names_are_data(prepared: Prepare, tone: Record, tmp_path: Path, name: str) -> None:
    """ffmpeg reads the file of exactly that name."""
    shutil.copy(tone("a.wav"), tmp_path / name)

    assert (await prepared(tmp_path / name)).duration_s == pytest.approx(3, abs=0.01)


async def test_cut_video_is_prepared_as_far_as_it_goes(prepared: Prepare, cut_video: Path) -> None:
    """Half a video gives half its sound, and the missing seconds are told."""
    artifact = await prepared(cut_video)

    assert artifact.duration_s is not None
    assert 1 < artifact.duration_s < 5
    missing_s = 6 - artifact.duration_s
    assert f"{missing_s:.1f} s of 6.0 s could not be read" in artifact.warnings[0]


async def test_damaged_middle_stays_on_the_time_line(prepared: Prepare, tmp_path: Path, tone: Record) -> None:
    """Where packets are destroyed there is silence of the same length, and the user learns how much."""
    content = bytearray(tone("long.m4a", "-movflags", "+faststart", seconds=20).read_bytes())
    middle = len(content) // 3
    content[middle : middle * 2] = Random(2).randbytes(middle)
    (tmp_path / "hurt.m4a").write_bytes(content)

    artifact = await prepared(tmp_path / "hurt.m4a")

    assert artifact.duration_s == pytest.approx(20, abs=0.05)
    assert "hold no readable sound" in artifact.warnings[0]


async def test_damaged_mp3_is_not_stretched(prepared: Prepare, tmp_path: Path, tone: Record) -> None:
    """A raw stream with broken frames never comes out longer than it was."""
    content = bytearray(tone("long.mp3", seconds=20).read_bytes())
    random = Random(3)
    for at in range(5000, len(content), 900):
        content[at] ^= random.randrange(1, 256)
    (tmp_path / "hurt.mp3").write_bytes(content)

    artifact = await prepared(tmp_path / "hurt.mp3")

    assert artifact.duration_s is not None
    assert 10 < artifact.duration_s < 20.1


async def test_recording_that_changed_since_the_probe(ffmpeg: Ffmpeg, tmp_path: Path, tone: Record) -> None:
    """A recording that grew after the probe is not prepared by what the probe said."""
    growing = tmp_path / "growing.wav"
    shutil.copy(tone("a.wav"), growing)
    info = await probe(growing)
    with growing.open("ab") as file:
        file.write(bytes(4096))

    with pytest.raises(SourceChanged, match=r"growing\.wav"):
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=ffmpeg)


async def test_recording_that_changes_meanwhile(ffmpeg: Ffmpeg, tmp_path: Path, tone: Record) -> None:
    """A recording rewritten during the encoding gives no artifact; once it rests, it does."""
    restless = tmp_path / "restless.wav"
    shutil.copy(tone("a.wav"), restless)
    info = await probe(restless)

    def touch(_: PreparingEvent) -> None:
        restless.touch()

    with pytest.raises(SourceChanged):
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=ffmpeg, report=touch)
    assert list((tmp_path / "spool").iterdir()) == []

    assert (await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=ffmpeg)).size_bytes
