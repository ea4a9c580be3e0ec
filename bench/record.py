"""What a bench found, as the JSON that is kept: with the day, the machine and the command that repeats it."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def keep(file: Path, command: str, found: Mapping[str, object]) -> None:
    """Write it to `file`."""
    about = {"measured": datetime.now(UTC).date().isoformat(), "machine": machine(), "command": command}
    file.write_text(json.dumps({**about, **found}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """Where it was measured."""
    system, python = f"{platform.system()} {platform.release().partition('-')[0]}", platform.python_version()
    return f"{os.cpu_count()} processors, {platform.machine()}, {system}, Python {python}"
