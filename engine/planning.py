"""What preparing is decided by, the recording apart: the link, as past uploads have found it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .core.uplink import REMEMBERED, uplink_bits_s
from .errors import StateError
from .runtime.local_service import LOCAL
from .runtime.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

_LOOPBACK_BITS_S: Final = 1e9  # the service built in, on this machine: what a disk takes


def uplink_to(endpoint: str, manifest: Manifest) -> float | None:
    """Bits per second from here to a service; None where nothing is known."""
    if endpoint == LOCAL:
        return _LOOPBACK_BITS_S
    return uplink_bits_s(manifest.recent_costs(endpoint, REMEMBERED))


def remembered_uplink(endpoint: str | None, state_dir: Path) -> float | None:
    """The same for who needs no manifest otherwise: none is made, and a damaged one is not this question's matter."""
    if endpoint == LOCAL:
        return _LOOPBACK_BITS_S
    if endpoint is None or not (state_dir / "manifest.db").exists():
        return None
    try:
        with Manifest(state_dir) as manifest:
            return uplink_to(endpoint, manifest)
    except StateError:
        return None
