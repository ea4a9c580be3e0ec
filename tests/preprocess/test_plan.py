"""The recipes side by side, and what they are reckoned to cost."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

import preprocess
from preprocess import Means, MediaInfo, Sound, StreamInfo, WishError, decide, measured_speed, plan, probe

Record = Callable[..., Path]
HOUR_S = 3600.0
MBIT = 1e6


def film(*, codec: str = "aac", bit_rate: int | None = 128_000, sound: Sound | None = None) -> MediaInfo:
    """An hour of video of 1.5 GB whose sound takes 59 MB."""
    channels = len(sound.levels_dbfs) if sound else 2
    audio = StreamInfo(1, "audio", codec, 48_000, channels, duration_s=HOUR_S, bit_rate=bit_rate, sound=sound)
    picture = StreamInfo(0, "video", "h264", width=1280, height=720)
    mp4 = "mov,mp4,m4a,3gp,3g2,mj2"
    return MediaInfo(Path("/r/lecture.mp4"), 1_500_000_000, mp4, HOUR_S, 0.0, None, (picture, audio))


@pytest.mark.parametrize(
    ("mbit_s", "recipe", "total_s"),
    [
        (1, "standard", 83),
        (5, "standard", 37),
        (10, "standard", 37),
        (12, "copy", 39),
        (20, "copy", 23.5),
        (50, "copy", 10),
    ],
)
def test_an_hour_of_video(mbit_s: float, recipe: str, total_s: float) -> None:
    """On a slow link speech is sent, on a fast one what loses nothing: it is there no later."""
    made = plan(film(), means=Means(mbit_s * MBIT))
    (row,) = [row for row in made.rows if row.recipe == made.recipe]

    assert made.recipe == recipe
    assert row.total_s == pytest.approx(total_s, abs=0.5)


def test_what_is_not_decoded_comes_first() -> None:
    """A recording that is sound alone is not decoded to gain a few seconds; for many seconds it is."""
    speech = replace(film(codec="mp3"), format_name="mp3", size_bytes=57_600_000, streams=film(codec="mp3").streams[1:])
    studio = replace(speech, format_name="wav", size_bytes=691_000_000)

    assert decide(speech, "auto", Means(20 * MBIT)).recipe.name == "as-is"
    assert decide(studio, "auto", Means(200 * MBIT)).recipe.name == "lossless"


@pytest.mark.parametrize(("size_bytes", "recipe"), [(12_400_000, "as-is"), (12_600_000, "standard")])
def test_what_is_already_small(size_bytes: int, recipe: str) -> None:
    """Over any link, what is at most a fifth larger than speech would be is not encoded once more."""
    speech = replace(film(codec="mp3"), format_name="mp3", size_bytes=size_bytes, streams=film(codec="mp3").streams[1:])

    assert decide(speech, "auto", Means(0.1 * MBIT)).recipe.name == recipe


def test_the_reason_tells_what_was_weighed() -> None:
    """Bytes, rate and time, what they are compared with, and whether the rate is only assumed."""
    fast, slow, unknown = (decide(film(), "auto", Means(rate)).reason for rate in (12 * MBIT, MBIT, None))

    assert fast == "copy: 58.8 MB at 12 Mbit/s takes 39 s, no slower than encoding, and loses nothing"
    assert slow == (
        "standard: only the sound of a video is needed, 10.4 MB instead of 1.5 GB; 83 s at 1 Mbit/s, 7 min without loss"
    )
    assert unknown.endswith("; 37 s at an assumed 5 Mbit/s, 85 s without loss")


@pytest.mark.parametrize(
    ("info", "recipe"),
    [
        (film(codec="opus"), "lossless"),
        (film(bit_rate=None), "lossless"),
        (film(sound=Sound((-20.0,) * 6)), "lossless"),
        (film(sound=Sound((-20.0, -20.0), correlation=-1.0)), "lossless"),
        (film(sound=Sound((-20.0, -20.0), 0.0, 0.4, 0.4)), "copy"),
    ],
)
def test_what_is_copied_unasked(info: MediaInfo, recipe: str) -> None:
    """Only what every service reads, of known size, whose channels no service can spoil."""
    assert decide(info, "auto", Means(100 * MBIT)).recipe.name == recipe


def test_two_speakers_get_two_channels_in_every_recipe_that_encodes() -> None:
    """Kept apart they cost twice the bits in Opus, and less than that in FLAC."""
    apart = film(sound=Sound((-20.0, -20.0), 0.0, 0.4, 0.4))
    alone, both = ({row.recipe: row for row in plan(info).rows} for info in (film(), apart))

    assert {row.channels for row in both.values()} == {2}
    assert both["standard"].size_bytes == pytest.approx(2 * (alone["standard"].size_bytes or 0), rel=0.01)
    assert both["lossless"].size_bytes == pytest.approx(1.6 * (alone["lossless"].size_bytes or 0), rel=0.01)
    assert decide(apart, "standard").recipe.options["b:a"] == "48k"
    assert decide(apart, "high").recipe.options["ac"] == "2"


def test_a_wish_is_planned_as_one() -> None:
    """The row that was asked for is taken, and one that cannot be is an error as it would be in earnest."""
    assert plan(film(), "small").recipe == "small"
    assert any("understand less" in warning for warning in plan(film(), "small").warnings)
    with pytest.raises(WishError, match="cannot be copied"):
        plan(film(codec="wmav2"), "copy")


def test_a_recipe_that_cannot_work_says_why() -> None:
    """It has its row all the same."""
    rows = {row.recipe: row for row in plan(film(codec="wmav2")).rows}

    assert rows["copy"].refusal == "The audio of 'lecture.mp4' (wmav2) cannot be copied into MP4."


@pytest.mark.anyio
async def test_the_size_foretold_is_the_size_made(
    record: Record, prepared: Callable[..., object], tmp_path: Path
) -> None:
    """Each recipe's estimate is right to a third on speech, so that the choice between them is."""
    spoken = Path(__file__).parents[2] / "fixtures" / "spoken.wav"
    path = record("talk.mkv", "-stream_loop", "1", "-i", spoken, "-c:a", "aac", "-b:a", "64k")
    rows = {row.recipe: row for row in plan(await probe(path)).rows}

    for recipe in ("standard", "high", "small", "lossless", "copy"):
        artifact = await prepared(path, recipe, tmp_path / recipe)  # type: ignore[misc]  # the fixture's own type is wider
        assert rows[recipe].size_bytes == pytest.approx(artifact.size_bytes, rel=0.33), recipe


def test_speed_is_learnt_from_long_encodings_alone() -> None:
    """Twice the expected pace is a machine twice as fast; what was copied or short tells nothing."""
    info, standard = film(), decide(film(), "standard").recipe
    row = next(row for row in plan(info).rows if row.recipe == "standard")
    pace = HOUR_S / (row.prepare_s or 0)

    assert measured_speed(info, standard, 2 * pace, cores=2) == pytest.approx(2)
    assert measured_speed(info, standard, None, cores=2) is None
    assert measured_speed(info, decide(info, "copy").recipe, 2000.0, cores=2) is None
    assert measured_speed(info, decide(info, "lossless").recipe, 500.0, cores=2) is None


def test_speed_learnt_foretells_the_same_pace() -> None:
    """What was measured with so many processors is foretold for as many."""
    info, standard = film(), decide(film(), "standard").recipe
    for cores in (1, 2, 8):
        speed = measured_speed(info, standard, 150.0, cores=cores)
        row = next(row for row in plan(info, means=Means(cores=cores, speed=speed)).rows if row.recipe == "standard")
        assert row.prepare_s == pytest.approx(HOUR_S / 150)


@pytest.mark.anyio
async def test_the_example_of_the_package_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the package's own page shows can be typed in."""
    (tmp_path / "meeting.mp4").symlink_to(Path(__file__).parents[2] / "fixtures" / "spoken.mp4")
    monkeypatch.chdir(tmp_path)
    page = preprocess.__doc__ or ""
    lines = [line for line in page.splitlines() if line.startswith("    ")]
    code = compile(textwrap.dedent("\n".join(lines)), "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, object] = {}

    outcome = eval(code, names)
    if inspect.iscoroutine(outcome):
        await outcome

    artifact = names["artifact"]
    assert isinstance(artifact, preprocess.Artifact)
    assert artifact.size_bytes > 0
