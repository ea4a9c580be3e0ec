"""What preparing is decided by, the recording apart: the link and the machine, as past jobs have found them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .core.experience import REMEMBERED, Experience, speed, uplink_bits_s
from .errors import StateError
from .runtime.local_service import LOCAL
from .runtime.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

_LOOPBACK_BITS_S: Final = 1e9  # the service built in, on this machine: what a disk takes


def experience(manifest: Manifest, endpoint: str | None) -> Experience:
    """What past jobs tell of this machine, and of its link to a service."""
    rate = None if endpoint is None else uplink_bits_s(manifest.recent_costs(endpoint, REMEMBERED))
    machine = speed(artifact.speed for artifact in manifest.recent_artifacts(REMEMBERED))
    return Experience(_LOOPBACK_BITS_S if endpoint == LOCAL else rate, machine)


def remembered(state_dir: Path, endpoint: str | None) -> Experience:
    """The same for who needs no manifest otherwise: none is made, and a damaged one is not this question's matter."""
    if (state_dir / "manifest.db").exists():
        try:
            with Manifest(state_dir) as manifest:
                return experience(manifest, endpoint)
        except StateError:
            pass
    return Experience(_LOOPBACK_BITS_S if endpoint == LOCAL else None)
