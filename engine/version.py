"""Which version this is. The package's metadata takes it from here: reading it there costs ten milliseconds."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
