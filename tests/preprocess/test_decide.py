"""The choice of a recipe, and what it says for itself."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from preprocess import RECIPES, MediaInfo, RecipeName, Sound, StreamInfo, Wish, WishError, decide

HOUR_S = 3600.0


def recording(
    format_name: str = "mov,mp4,m4a,3gp,3g2,mj2",
    *,
    size_bytes: int = 500_000_000,
    codec: str = "aac",
    rate_hz: int = 48_000,
    bit_rate: int | None = 128_000,
    late_s: float = 0.0,
    has_video: bool = False,
    tracks: int = 1,
    duration_s: float | None = HOUR_S,
    sound: Sound | None = None,
) -> MediaInfo:
    channels = len(sound.levels_dbfs) if sound else 1
    audio = StreamInfo(
        0, "audio", codec, rate_hz, channels, start_s=late_s, duration_s=duration_s, bit_rate=bit_rate, sound=sound
    )
    tracks_of_it = tuple(msgspec.structs.replace(audio, index=n) for n in range(tracks))
    picture = (StreamInfo(tracks, "video", "h264", width=640, height=480),) if has_video else ()
    return MediaInfo(Path("/r/talk.bin"), size_bytes, format_name, duration_s, 0.0, None, tracks_of_it + picture)


@pytest.mark.parametrize(
    ("info", "recipe", "reason"),
    [
        (recording(has_video=True), "standard", "only the sound of a video"),
        (recording("wav", codec="pcm_s16le"), "standard", "speech needs no more, 10.4 MB instead of 500.0 MB"),
        (recording(size_bytes=1_480_000_000), "standard", "10.4 MB instead of 1.5 GB"),
        (recording("mp3", codec="mp3", duration_s=60, size_bytes=200_000), "as-is", "already small (200 kB)"),
        (recording("ogg", codec="opus", size_bytes=11_000_000), "as-is", "already small (11.0 MB)"),
        (recording("mp3", codec="mp3", size_bytes=12_400_000), "as-is", "already small"),
        (recording("mp3", codec="mp3", size_bytes=23_000_000), "as-is", "no slower than encoding, and loses nothing"),
        (recording("mp3", codec="mp3", size_bytes=30_000_000), "standard", "speech needs no more"),
        (recording("matroska,webm", codec="opus", size_bytes=9_000_000), "standard", "not every service"),
        (recording(size_bytes=99_000_000, tracks=2), "standard", "one of 2 audio tracks"),
        (recording("aac", duration_s=None, size_bytes=9_000_000), "standard", "does not say how long"),
    ],
)
def test_auto(info: MediaInfo, recipe: RecipeName, reason: str) -> None:
    """Video and large audio become speech, small audio in a common container goes as it is."""
    decision = decide(info, "auto")

    assert decision.recipe is RECIPES[recipe]
    assert reason in decision.reason
    assert "\n" not in decision.reason


@pytest.mark.parametrize("wish", ["standard", "lossless", "copy", "as-is"])
def test_a_wish_is_followed(wish: Wish) -> None:
    """What the user asks for is done if it can be."""
    assert decide(recording(), wish).recipe.name == wish


@pytest.mark.parametrize(
    ("info", "wish", "reason", "instead"),
    [
        (recording(), "video", "has no video", "standard"),
        (recording("wav", codec="pcm_s16le"), "copy", "pcm_s16le", "lossless"),
        (recording(late_s=5.0), "copy", "5.0 s late", "lossless"),
    ],
)
def test_a_wish_that_cannot_work(info: MediaInfo, wish: Wish, reason: str, instead: str) -> None:
    """An impossible wish is an error that names a recipe which works."""
    with pytest.raises(WishError, match=reason) as refusal:
        decide(info, wish)

    assert instead in refusal.value.hint
    assert decide(info, instead).recipe.name == instead  # type: ignore[arg-type]  # taken from the table above


@pytest.mark.parametrize(
    ("info", "wish", "expected_bytes"),
    [
        (recording(), "standard", 10_400_000),
        (recording(), "lossless", 53_000_000),
        (recording(rate_hz=8000), "lossless", 26_500_000),
        (recording(), "copy", 58_752_000),
        (recording(bit_rate=None), "copy", 500_000_000),
        (recording(), "as-is", 500_000_000),
        (recording(has_video=True), "video", 144_000_000),
        (recording(duration_s=None), "standard", 500_000_000),
    ],
)
def test_estimates(info: MediaInfo, wish: Wish, expected_bytes: int) -> None:
    """Sizes follow from the length and measured rates; without a length the source's own size stands in."""
    assert decide(info, wish).estimated_bytes == pytest.approx(expected_bytes, abs=1)


def test_opposite_channels_do_not_go_as_they_are() -> None:
    """What a service would mix to silence is mixed here; whoever insists is warned."""
    small = recording("mp3", codec="mp3", size_bytes=9_000_000, sound=Sound((-20.0, -20.0), correlation=-1.0))

    assert decide(small, "auto").recipe.name == "standard"
    assert decide(small, "standard").warnings == ()
    assert "hears nothing" in decide(small, "as-is").warnings[0]


def test_left_out_tracks_are_told() -> None:
    """Whoever recorded two tracks learns which one is used."""
    (warning,) = decide(recording(tracks=2), "standard").warnings

    assert "track 1 of 2" in warning


@pytest.mark.parametrize(
    ("source_hz", "opus_hz", "flac_hz"),
    [
        (6_000, 8_000, 6_000),
        (8_000, 8_000, 8_000),
        (11_025, 12_000, 11_025),
        (16_000, 16_000, 16_000),
        (44_100, 16_000, 16_000),
        (96_000, 16_000, 16_000),
    ],
)
def test_rates(source_hz: int, opus_hz: int, flac_hz: int) -> None:
    """Nothing is resampled upwards, but for the step to the next rate that Opus knows."""
    assert RECIPES["standard"].rate_hz(source_hz) == opus_hz
    assert RECIPES["lossless"].rate_hz(source_hz) == flac_hz
