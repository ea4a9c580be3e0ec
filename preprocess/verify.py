"""How much sound an artifact holds, by itself: exit status 0 alone proves nothing.

ffmpeg answers 0 for half a file and for one with half its packets broken. What proves the length is the
artifact: an Ogg stream by its pages (exact to the sample), an MP4 by its packets' time stamps.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import anyio.to_thread

from .child import Limits, ask
from .errors import ToolCrashed
from .ogg import OggError, ogg_length_s

_CHILD = Path(__file__).with_name("probe_child.py")
_CPU_S = 600  # demuxing 10 h of copied audio takes seconds
_TIMEOUT_S = 600


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
