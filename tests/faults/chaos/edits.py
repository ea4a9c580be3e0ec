"""What befalls a recording between two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.faults.chaos.scenario import Edit

_EDIT_BYTES: Final = 1000


def edit(path: Path, kind: Edit, chance: random.Random) -> Path:
    """Do it; returns where the recording is then."""
    size_bytes = path.stat().st_size
    match kind:
        case "moved":
            return path.rename(path.with_name(f"moved {path.name}"))
        case "touched":
            path.touch()
        case "grown":
            with path.open("ab") as file:
                file.write(chance.randbytes(_EDIT_BYTES))
        case "shrunk":
            with path.open("r+b") as file:
                file.truncate(max(1, size_bytes - _EDIT_BYTES))
        case "in place":
            with path.open("r+b") as file:
                file.seek(chance.randrange(max(1, size_bytes - _EDIT_BYTES)))
                file.write(chance.randbytes(min(_EDIT_BYTES, size_bytes)))
    return path
