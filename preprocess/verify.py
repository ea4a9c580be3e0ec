"""Does the artifact hold as much sound as the recording? Exit status 0 alone proves nothing.

ffmpeg answers 0 for half a file and for one with half its packets broken. What proves the length is the
artifact itself: an Ogg stream by its pages (exact to the sample), an MP4 by its packets' time stamps.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from .child import Limits, ask
from .errors import ToolCrashed
from .ogg import OggError, ogg_length_s

if TYPE_CHECKING:
    from .media import MediaInfo

_CHILD = Path(__file__).with_name("probe_child.py")
_CPU_S = 600  # demuxing 10 h of copied audio takes seconds
_TIMEOUT_S = 600

# Encoders add up to a frame and headers round; a real container's header is right to this.
_TOLERANCE_S = 0.5
_TOLERANCE_SHARE = 0.001


async def measure_s(artifact: Path, suffix: str) -> float:
    """Playing time of a finished artifact in seconds.

    Raises:
        ToolCrashed: It is not a whole stream, so the tool did not do what it said.
    """
    if suffix in {".ogg", ".oga"}:
        return await anyio.to_thread.run_sync(partial(_ogg_s, artifact))
    command = [sys.executable, "-P", str(_CHILD), "measure", str(artifact), "mov"]
    answer = await ask(command, Limits(cpu_s=_CPU_S), timeout_s=_TIMEOUT_S)
    try:
        return float(json.loads(answer.output)["end_s"])
    except (ValueError, KeyError) as error:
        raise _broken("it cannot be read back") from error


def _ogg_s(artifact: Path) -> float:
    try:
        with artifact.open("rb") as file:
            return ogg_length_s(file)
    except OggError as error:
        raise _broken(str(error)) from error


def _broken(reason: str) -> ToolCrashed:
    return ToolCrashed(f"ffmpeg's output is not whole: {reason}.", hint="Run the same command again.")


def compare(info: MediaInfo, length_s: float, filled_samples: int) -> tuple[str, ...]:
    """What to tell the user about an artifact made from `info`; mostly nothing.

    Args:
        info: What the recording says of itself.
        length_s: The artifact's measured length in seconds.
        filled_samples: Silence put in where no sound could be read, in samples at the source's rate; a late
            start of the audio is part of it.
    """
    expected_s = info.audio_length_s
    if expected_s is None or info.length_is_guessed:
        return ()
    tolerance_s = max(_TOLERANCE_S, _TOLERANCE_SHARE * expected_s)
    missing_s = expected_s - length_s
    silent_s = filled_samples / (info.audio.sample_rate_hz or 1) - info.audio_offset_s
    warnings = []
    if missing_s > tolerance_s:
        warnings.append(
            f"The recording is damaged or incomplete: {missing_s:.1f} s of {expected_s:.1f} s could not be read."
        )
    elif missing_s < -tolerance_s:
        warnings.append(f"The recording is {-missing_s:.1f} s longer than its header says ({expected_s:.1f} s).")
    if silent_s > tolerance_s:
        warnings.append(f"The recording has gaps: {silent_s:.1f} s in it hold no readable sound and stay silent.")
    return tuple(warnings)
