"""Looks at processes that come and go."""

from __future__ import annotations

import psutil


def words_of(process: psutil.Process) -> list[str]:
    """The command line of a process; nothing of one that has just ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
