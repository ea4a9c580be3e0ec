"""How much sound an artifact holds, by itself: exit status 0 alone proves nothing.

ffmpeg answers 0 for half a file and for one with half its packets broken. What proves the length is the
artifact: an Ogg stream by its pages (exact to the sample), an MP4 by its fragments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ToolCrashed
from .fragments import FragmentsError, fragments_length_s
from .ogg import OggError, ogg_length_s

if TYPE_CHECKING:
    from pathlib import Path


def measure_s(artifact: Path, suffix: str) -> float:
    """Playing time of a finished artifact in seconds. Reads headers only.

    Raises:
        ToolCrashed: It is not a whole stream, so the tool did not do what it said.
    """
    measure = ogg_length_s if suffix in {".ogg", ".oga"} else fragments_length_s
    try:
        with artifact.open("rb") as file:
            return measure(file)
    except (OggError, FragmentsError) as error:
        raise ToolCrashed(f"ffmpeg's output is not whole: {error}.", hint="Run the same command again.") from error
