"""Which audio track is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess import Ffmpeg, MediaInfo, Sound, StreamInfo, WishError, decide, prepare, probe, select
from preprocess.languages import same_language

Record = Callable[..., Path]


def recording(*languages: str | None, default: int = 0) -> MediaInfo:
    """A film with one audio track a language, after its picture."""
    picture = StreamInfo(0, "video", "h264", width=640, height=480)
    sound = tuple(
        StreamInfo(n, "audio", "aac", 48_000, 2, language, n == default + 1) for n, language in enumerate(languages, 1)
    )
    return MediaInfo(Path("/r/film.mkv"), 1_000_000, "matroska,webm", 60.0, 0.0, None, (picture, *sound))


@pytest.fixture(scope="session")
def bilingual(record: Record) -> Path:
    """A recording whose second track is louder and in English."""
    tones = ("-f", "lavfi", "-i", "sine=f=300:d=2,volume=-30dB", "-f", "lavfi", "-i", "sine=f=900:d=2")
    languages = ("-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "language=eng")
    return record("bilingual.mkv", *tones, "-map", "0", "-map", "1", "-c:a", "flac", *languages)


@pytest.mark.parametrize(
    ("track", "index"), [("1", 1), ("3", 3), ("eng", 2), ("en", 2), ("EN-gb", 2), ("de", 1), ("deu", 1), ("ger", 1)]
)
def test_by_number_or_language(track: str, index: int) -> None:
    """Tracks are counted from 1, pictures left out; a language may be written in any of its ways."""
    info = select(recording("ger", "eng", "fra"), track)

    assert info.audio.index == index
    assert info.track == index


def test_several_tracks_in_one_language() -> None:
    """The one to be played by default is meant, else the first."""
    assert select(recording("eng", "eng", "eng", default=1), "en").track == 2
    assert select(recording("ger", "eng", "eng"), "en").track == 2


@pytest.mark.parametrize("track", ["0", "4", "fr", "", "-1", "1.0", "²"])
def test_a_track_that_is_not_there(track: str) -> None:
    """Whoever asks for one that is not there is told which there are."""
    with pytest.raises(WishError) as refusal:
        select(recording("ger", "eng", None), track)

    message = str(refusal.value)
    assert "1 (ger, aac, 2 channels, default); 2 (eng, aac, 2 channels); 3 (aac, 2 channels)" in message
    assert "--track" in refusal.value.hint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("en", "eng", True),
        ("fre", "fra", True),
        ("zh-Hant", "chi", True),
        ("pt_BR", "por", True),
        ("en", "de", False),
        ("gsw", "gsw", True),
        ("gsw", "ger", False),
        ("und", "eng", False),
    ],
)
def test_languages(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - the table's column
    """Two and three letters, both three-letter codes, regions and scripts are the same language."""
    assert same_language(one, other) is same
    assert same_language(other, one) is same


@pytest.mark.anyio
async def test_the_track_asked_for_is_prepared(bilingual: Path, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The artifact holds the sound of that track, and the user learns which one it is."""
    info = await probe(bilingual, track="en")
    decision = decide(info, "lossless")
    artifact = await prepare(info, decision, tmp_path / "spool", ffmpeg=ffmpeg)

    assert decision.warnings == ("Audio track 2 of 2 (eng) is used; the others are left out.",)
    sound = (await probe(artifact.path)).audio.sound
    assert sound is not None
    assert sound.levels_dbfs[0] == pytest.approx(-21, abs=0.5)


@pytest.mark.anyio
async def test_a_wrong_track_is_told_by_the_probe(bilingual: Path) -> None:
    """Nothing is prepared of a recording without the track."""
    with pytest.raises(WishError, match="no audio track 'fr'"):
        await probe(bilingual, track="fr")


@pytest.mark.anyio
async def test_a_silent_track_beside_one_that_is_not(record: Record) -> None:
    """Who would have the wrong track transcribed is told where the sound is."""
    sounds = ("-f", "lavfi", "-i", "anullsrc=d=2", "-f", "lavfi", "-i", "sine=d=2")
    path = record("dubbed.mkv", *sounds, "-map", "0", "-map", "1", "-c:a", "flac", "-t", "2")

    (warning,) = (await probe(path)).warnings
    assert warning.endswith("Audio track 2 holds some: `--track 2`.")
    assert (await probe(path, track="2")).warnings == ()


def test_as_it_is_cannot_leave_a_track_out() -> None:
    """A track asked for and `as-is` contradict each other."""
    with pytest.raises(WishError, match="all its 2 audio tracks"):
        decide(select(recording("ger", "eng"), "2"), "as-is")


def test_a_lone_track_may_be_asked_for_as_it_is() -> None:
    """Where there is one track, asking for it changes nothing."""
    info = recording("ger")
    assert decide(select(info, "1"), "as-is").recipe.name == "as-is"


def test_what_was_heard_in_another_track_does_not_count() -> None:
    """The mix is that of the track asked for."""
    apart = Sound((-20.0, -20.0), 0.0, 0.4, 0.4)
    info = recording("ger", "eng")
    streams = (*info.streams[:2], StreamInfo(2, "audio", "aac", 48_000, 2, "eng", sound=apart))
    mixed = MediaInfo(info.path, info.size_bytes, info.format_name, 60.0, 0.0, None, streams)

    assert (mixed.mix.name, select(mixed, "en").mix.name) == ("mono", "stereo")
