"""Everything of the world that work on jobs needs, in one hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.retry import RetryPolicy
    from ..events import Event
    from .clock import Clock
    from .exchange import Exchanger
    from .manifest import Manifest
    from .service_access import ServiceAccess


class Crew(Struct, frozen=True):
    """Shared by all jobs of one client."""

    manifest: Manifest
    exchanger: Exchanger
    access: ServiceAccess
    clock: Clock
    emit: Callable[[Event], None]
    policy: RetryPolicy
