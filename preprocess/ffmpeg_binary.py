"""Which ffmpeg to run."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess

import xxhash
from msgspec import Struct

from .errors import ToolMissing

ENVIRONMENT_VARIABLE = "SPEECHSTREAM_FFMPEG"
_OLDEST_MAJOR = 5  # the command lines were proven with 5.1 and 9.0
_ANSWER_S = 20  # a cold start from a slow disk; it takes 50 ms otherwise
_VERSION_LINE = re.compile(r"ffmpeg version (\S+)")


class Ffmpeg(Struct, frozen=True):
    """A tool that was seen to run.

    Attributes:
        path: Absolute path of the program.
        version: Its version as it states it, such as `9.0.2-static`.
        build: xxh3-64 of everything `-version` says, in hex. Other libraries under the same version may
            write other bytes, so this belongs to an artifact's identity.
    """

    path: str
    version: str
    build: str = ""

    @property
    def major(self) -> int:
        """The first number of its version; that of the oldest one that will do where it has none."""
        # Distributions write `5.1.9-0+deb12u1`, some builds `n6.1`; builds of a git snapshot have no number
        # (`N-110223-gb18a9c2971`) and are newer than any release we refuse.
        number = re.match(r"n?(\d+)\.", self.version)
        return int(number[1]) if number else _OLDEST_MAJOR


@functools.cache
def find_ffmpeg() -> Ffmpeg:
    """The ffmpeg to use: the environment's choice, else the system's if new enough, else the bundled one.

    Looked for once per process; a failure is looked for again. Blocks for about 50 ms.

    Raises:
        ToolMissing: None runs, or the one named in the environment does not.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return _chosen(chosen)
    for candidate in (shutil.which("ffmpeg"), _bundled()):
        found = _inspect(candidate) if candidate else None
        if found and found.major >= _OLDEST_MAJOR:
            return found
    raise ToolMissing(
        f"No ffmpeg {_OLDEST_MAJOR} or newer runs on this machine.",
        hint=f"Install ffmpeg, or set {ENVIRONMENT_VARIABLE} to the path of one.",
    )


def _chosen(path: str) -> Ffmpeg:
    found = _inspect(os.path.abspath(path)) or _inspect(shutil.which(path) or path)  # noqa: PTH100 -- a str is kept
    if found is None:
        raise ToolMissing(
            f"{ENVIRONMENT_VARIABLE} names {path!r}, which does not run as ffmpeg.",
            hint=f"Correct {ENVIRONMENT_VARIABLE}, or unset it to use the system's ffmpeg.",
        )
    return found


def _bundled() -> str | None:
    # Imported late: only machines without an ffmpeg need it.
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        # How it says that it brings none for this platform.
        return None


def _inspect(path: str) -> Ffmpeg | None:
    try:
        answer = subprocess.run(  # noqa: S603 -- the program is the user's own choice
            [path, "-hide_banner", "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = _VERSION_LINE.match(answer.stdout.decode(errors="replace"))
    if version is None:
        return None
    return Ffmpeg(path, version[1], xxhash.xxh3_64_hexdigest(answer.stdout))
