"""How much of a recording could not be read, and where.

The quick signs are free: the artifact's length against the recording's, the silence that was filled in, and ffmpeg's
complaints. Only where they tell of damage is the recording read once more, for the places.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .child import Limits, ask
from .errors import ToolHung
from .media import FORMAT_WHITELIST
from .timeline import clock

if TYPE_CHECKING:
    from .log import Losses
    from .media import MediaInfo

_CHILD = Path(__file__).with_name("probe_child.py")

# Encoders add up to a frame and headers round; a real container's header is right to this.
_TOLERANCE_S: Final = 0.5
_TOLERANCE_SHARE: Final = 0.001
_HEARABLE_S: Final = 0.1  # a hole of a few packets that ffmpeg complained about; a last one that was cut is shorter

_PLACES: Final = 5  # so many are named; the rest is counted
_NEAR_S: Final = 1.0  # holes this close to each other are one place to a person

# PyAV decodes 100 times as fast as the sound plays, and more.
_SLOWEST: Final = 20
_LEAST_PATIENCE_S: Final = 120


class Damage(Struct, frozen=True):
    """How much is wrong with a recording.

    Attributes:
        expected_s: How long it says its sound is; None where it does not say.
        missing_s: How much shorter the artifact is.
        silent_s: How much of the artifact is silence where no sound could be read.
        is_broken: Whether ffmpeg complained about packets.
    """

    expected_s: float | None
    missing_s: float = 0.0
    silent_s: float = 0.0
    is_broken: bool = False


class Hole(Struct, frozen=True):
    """A stretch of the recording's time line without readable sound, in seconds."""

    start_s: float
    stop_s: float


async def complaints(info: MediaInfo, length_s: float, losses: Losses) -> tuple[str, ...]:
    """What to tell the user about an artifact made from `info`; mostly nothing.

    Args:
        info: What the recording says of itself.
        length_s: The artifact's measured length in seconds.
        losses: What ffmpeg could not read.
    """
    if length_s > info.longest_s - 1:
        return (f"The recording's time stamps jump: what they put after {clock(length_s)} is left out.",)
    damage = assess(info, length_s, losses)
    if damage.missing_s > 0 or damage.silent_s > 0 or damage.is_broken:
        return describe(damage, await find_holes(info), is_exact=not info.length_is_guessed)
    if damage.missing_s < 0:
        return (f"The recording is {-damage.missing_s:.1f} s longer than its header says ({damage.expected_s:.1f} s).",)
    return ()


def assess(info: MediaInfo, length_s: float, losses: Losses) -> Damage:
    """The quick signs; what is within their accuracy counts as nothing."""
    expected_s = info.audio_length_s
    tolerance_s = max(_TOLERANCE_S, _TOLERANCE_SHARE * (expected_s or length_s))
    missing_s = 0.0
    # A length that was guessed from the first packets is worth nothing until something is known to be wrong.
    if expected_s is not None and (losses.is_broken or not info.length_is_guessed):
        missing_s = expected_s - length_s
    silent_s = losses.filled_samples / (info.audio.sample_rate_hz or 1) - info.audio_offset_s
    return Damage(
        expected_s,
        missing_s=missing_s if abs(missing_s) > tolerance_s else 0.0,
        silent_s=silent_s if silent_s > tolerance_s else 0.0,
        is_broken=losses.is_broken,
    )


async def find_holes(info: MediaInfo) -> tuple[Hole, ...]:
    """Read the recording once more and find where its sound stops and goes on; empty if that does not work either."""
    patience_s = _LEAST_PATIENCE_S + int((info.duration_s or 0.0) / _SLOWEST)
    about = [str(info.audio.index), *(f"{name}={value}" for name, value in info.demuxer_options)]
    command = [sys.executable, "-P", str(_CHILD), "holes", str(info.path), FORMAT_WHITELIST, *about]
    try:
        answer = await ask(command, Limits(cpu_s=patience_s), timeout_s=patience_s)
        facts = json.loads(answer.output)
        holes = [Hole(start_s, stop_s) for start_s, stop_s in facts["holes"]]
        end_s = float(facts["end_s"])
    except (ToolHung, ValueError, KeyError, TypeError):
        # The artifact is there all the same; only the places are not known.
        return ()
    expected_s = info.audio_length_s
    # On a raw stream time goes on without what was lost: its end is missing only if nothing else is.
    tells = not (info.length_is_guessed and holes)
    if tells and expected_s is not None and expected_s - end_s > _TOLERANCE_S:
        holes.append(Hole(end_s, expected_s))
    return tuple(holes)


def describe(damage: Damage, holes: tuple[Hole, ...], *, is_exact: bool) -> tuple[str, ...]:
    """Sentences for a person.

    Args:
        damage: What is wrong.
        holes: Where, as far as is known.
        is_exact: Whether the recording really says how long it is.
    """
    where = _places(holes)
    sentences = []
    if damage.missing_s > 0:
        about = "" if is_exact else "about "
        sentences.append(
            f"The recording is damaged or incomplete: {about}{damage.missing_s:.1f} s "
            f"of {damage.expected_s or 0.0:.1f} s could not be read{where}."
        )
    if damage.silent_s > 0:
        sentences.append(
            f"The recording has gaps: {damage.silent_s:.1f} s in it hold no readable sound and stay silent{where}."
        )
    lost_s = sum(hole.stop_s - hole.start_s for hole in holes)
    if not sentences and lost_s > _HEARABLE_S:
        sentences.append(f"The recording is damaged: {lost_s:.1f} s of it could not be read{where}.")
    return tuple(sentences)


def _places(holes: tuple[Hole, ...]) -> str:
    places: list[Hole] = []
    for hole in holes:
        if places and hole.start_s - places[-1].stop_s < _NEAR_S:
            places[-1] = Hole(places[-1].start_s, hole.stop_s)
        else:
            places.append(hole)
    if not places:
        return ""
    named = ", ".join(_place(place) for place in places[:_PLACES])
    rest = len(places) - _PLACES
    return f", at {named}" + (f" and {rest} more place{'' if rest == 1 else 's'}" if rest > 0 else "")


def _place(hole: Hole) -> str:
    start, stop = clock(hole.start_s), clock(hole.stop_s)
    return start if start == stop else f"{start}-{stop}"
