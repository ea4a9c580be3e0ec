"""How to reach the service: where it is, with which key, and whose turn it is. Opened when first needed."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from ..errors import ConfigError
from ..events import Warned
from ..wire.address import origin
from .credentials import Credentials
from .keys import find_key
from .local_service import LOCAL, run_local_service
from .turns import Turns, account_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from ..config import Settings
    from ..events import Event
    from ..redaction import Secret
    from .clock import Clock
    from .exchange import Exchanger
    from .manifest import Manifest


class ServiceAccess:
    """One run's access to services. The key is looked for, and the local service started, at first use."""

    def __init__(
        self,
        settings: Settings,
        exchanger: Exchanger,
        clock: Clock,
        tasks: TaskGroup,
        emit: Callable[[Event], None],
        key: Secret | None = None,
    ) -> None:
        self._settings = settings
        self._exchanger = exchanger
        self._clock = clock
        self._tasks = tasks
        self._emit = emit
        self._key = key
        self._opened: dict[str, tuple[str, Secret]] = {}
        self._opening = anyio.Lock()
        self._lines: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def base_url(self, endpoint: str) -> str:
        """The address to talk to for what the manifest calls `endpoint`.

        Raises:
            ConfigError: it is no address, or there is no key for it.
        """
        return (await self._open(endpoint))[0]

    async def turns(self, endpoint: str, manifest: Manifest, emit: Callable[[Event], None]) -> Turns:
        """The turns of the key that `endpoint` is used with.

        Raises:
            ConfigError: there is no key for it.
        """
        _, key = await self._open(endpoint)
        account = account_of(endpoint, "" if endpoint == LOCAL else key.reveal())
        return Turns(manifest, self._clock, emit, account, self._lines[account])

    async def _open(self, endpoint: str) -> tuple[str, Secret]:
        async with self._opening:
            if endpoint not in self._opened:
                url, key = await (self._start_local() if endpoint == LOCAL else self._look_up(endpoint))
                self._exchanger.authorize(Credentials(url, (("Authorization", f"Bearer {key.reveal()}"),)))
                self._opened[endpoint] = url, key
            return self._opened[endpoint]

    async def _start_local(self) -> tuple[str, Secret]:
        started: tuple[str, Secret] = await self._tasks.start(run_local_service, self._settings.state_dir / "service")
        return started

    async def _look_up(self, endpoint: str) -> tuple[str, Secret]:
        try:
            scheme, host, _ = origin(endpoint)
        except ValueError as error:
            raise ConfigError(
                f"The service's address cannot be used: {error}", hint="set SPEECHSTREAM_ENDPOINT to https://…/v1"
            ) from error
        parts = urlsplit(endpoint)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                f"The service's address holds more than scheme, host, port and path: {scheme}://{host}/…",
                hint="the key goes into SPEECHSTREAM_API_KEY, never into an address",
            )
        key = await anyio.to_thread.run_sync(partial(find_key, self._settings, endpoint, self._key))
        if scheme == "http" and not _is_here(host):
            self._emit(Warned("", f"{endpoint} is not https: key and recording travel readable by others"))
        return endpoint, key


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
