"""What must hold of the choice for any recording, link and machine."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess import RECIPES, Means, MediaInfo, Sound, StreamInfo, decide, plan

RATES_BITS_S = st.floats(5e4, 1e10)
MEANS = st.builds(
    Means,
    uplink_bits_s=st.none() | RATES_BITS_S,
    cores=st.integers(1, 64),
    speed=st.none() | st.floats(0.1, 20),
)
SOUNDS = st.builds(
    Sound,
    levels_dbfs=st.lists(st.none() | st.floats(-100, 0), min_size=1, max_size=12).map(tuple),
    correlation=st.floats(-1, 1),
    left_alone=st.floats(0, 0.5),
    right_alone=st.floats(0, 0.5),
    is_laid_out=st.booleans(),
)


@st.composite
def recordings(draw: st.DrawFn) -> MediaInfo:
    """Anything that a probe could tell."""
    duration_s = draw(st.none() | st.floats(0.01, 25 * 3600))
    sounds = draw(st.lists(SOUNDS, min_size=1, max_size=3))
    codec = draw(st.sampled_from(["aac", "mp3", "opus", "pcm_s16le", "flac", "amr_nb"]))
    bit_rate = draw(st.none() | st.integers(8_000, 10_000_000))
    late_s = draw(st.sampled_from([0.0, 5.0]))
    sound = tuple(
        StreamInfo(
            number,
            "audio",
            codec,
            draw(st.sampled_from([8_000, 16_000, 44_100, 48_000, 192_000])),
            len(heard.levels_dbfs),
            start_s=late_s,
            duration_s=duration_s,
            bit_rate=bit_rate,
            sound=heard,
        )
        for number, heard in enumerate(sounds)
    )
    picture = (StreamInfo(9, "video", "h264", width=1280, height=720),) if draw(st.booleans()) else ()
    format_name = draw(st.sampled_from(["mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mp3", "wav", "ogg"]))
    size_bytes = draw(st.integers(1_000, 20_000_000_000))
    return MediaInfo(Path("/r/talk.bin"), size_bytes, format_name, duration_s, 0.0, None, sound + picture)


@settings(deadline=None)
@given(recordings(), MEANS, RATES_BITS_S)
def test_a_faster_link_never_leads_to_a_greater_loss(info: MediaInfo, means: Means, faster_bits_s: float) -> None:
    """Whoever gets a better line gets at least the same quality."""
    faster = Means(max(faster_bits_s, means.assumed_bits_s), means.cores, means.speed)

    if not decide(info, "auto", means).recipe.lossy:
        assert not decide(info, "auto", faster).recipe.lossy


@settings(deadline=None)
@given(recordings(), MEANS)
def test_quality_costs_no_time_worth_the_name(info: MediaInfo, means: Means) -> None:
    """What auto takes is sent about as soon as speech would be, whatever it is."""
    rows = {row.recipe: row for row in plan(info, "auto", means).rows}
    taken, speech = rows[decide(info, "auto", means).recipe.name], rows["standard"]

    if taken.upload_s is not None and speech.total_s is not None:
        assert taken.upload_s <= 1.2 * speech.total_s + 1.0


@settings(deadline=None)
@given(recordings(), MEANS)
def test_auto_takes_what_works_and_says_why(info: MediaInfo, means: Means) -> None:
    """The choice can be made, is none that only a person may make, and explains itself in one line."""
    made = plan(info, "auto", means)
    (row,) = [row for row in made.rows if row.recipe == made.recipe]

    assert row.refusal is None
    assert made.recipe in {"standard", "lossless", "copy", "as-is"}
    assert made.reason.startswith(f"{made.recipe}: ")
    assert "\n" not in made.reason


@settings(deadline=None)
@given(recordings(), MEANS)
def test_words_that_must_be_mixed_with_care_are(info: MediaInfo, means: Means) -> None:
    """Nothing that a service's own mix would lose is left to the service, and no video is sent for its sound."""
    recipe = decide(info, "auto", means).recipe

    if info.mix.rescues or (info.has_video and recipe.name == "as-is"):
        assert recipe.decodes_audio


@settings(deadline=None)
@given(recordings(), MEANS)
def test_every_recipe_has_a_row(info: MediaInfo, means: Means) -> None:
    """A row has its figures, or the reason why it has none; the total is the longer of two that overlap."""
    made = plan(info, "auto", means)

    assert [row.recipe for row in made.rows] == list(RECIPES)
    for row in made.rows:
        if row.refusal is None:
            assert row.upload_s is not None
            assert row.total_s == (None if row.prepare_s is None else max(row.prepare_s, row.upload_s))
            assert row.channels is not None
            assert 1 <= row.channels <= max(2, len(info.audio.sound.levels_dbfs if info.audio.sound else ()))
        else:
            assert (row.size_bytes, row.total_s) == (None, None)


@settings(deadline=None)
@given(recordings(), st.floats(0.1, 20), st.integers(1, 64))
def test_more_hands_are_never_slower(info: MediaInfo, speed: float, cores: int) -> None:
    """A faster machine, or one with more processors, prepares no slower."""
    slow, fast = Means(cores=cores, speed=speed), Means(cores=cores + 1, speed=speed * 1.5)

    for before, after in zip(plan(info, means=slow).rows, plan(info, means=fast).rows, strict=True):
        if before.prepare_s is not None and after.prepare_s is not None:
            assert after.prepare_s <= before.prepare_s
