"""Who has a file open for writing, where the system tells: Linux, of the processes that this user may look into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def being_written(paths: Collection[str]) -> set[str]:
    """Those of `paths` that another process has open for writing; none where the system does not tell (proc(5))."""
    names = {os.path.realpath(path): path for path in paths}
    return {names[target] for target, info in _open_files(names) if _writes(info)}


def _open_files(names: Collection[str]) -> Iterator[tuple[str, Path]]:
    proc = Path("/proc")
    for process in os.listdir(proc) if proc.is_dir() else ():  # noqa: PTH208 - names alone, of hundreds
        if not process.isdigit():
            continue
        try:
            descriptors = os.listdir(proc / process / "fd")  # noqa: PTH208 - the same
        except OSError:  # it has ended, or is somebody else's
            continue
        for descriptor in descriptors:
            try:
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")  # noqa: PTH115 - a string is compared
            except OSError:
                continue
            if target in names:
                yield target, proc / process / "fdinfo" / descriptor


def _writes(info: Path) -> bool:
    try:
        lines = info.read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    flags = next((int(line.split()[1], 8) for line in lines if line.startswith("flags:")), os.O_RDONLY)
    return flags & os.O_ACCMODE != os.O_RDONLY
