"""What a caller may ask for, checked before anything is begun."""

from __future__ import annotations

from .core import control
from .errors import ConfigError
from .model import MAX_LANES
from .rates import LEAST_LIMIT_BYTES_S, UNLIMITED
from .wire import tus
from .wire.interface import MAX_CHECKSUMMED_BYTES


def one_of(value: str, choices: tuple[str, ...], what: str) -> str:
    """The value, if it is one of the choices.

    Raises:
        ConfigError: it is none.
    """
    if value not in choices:
        raise ConfigError(f"There is no {what} {value!r}", hint=f"one of {', '.join(choices)}")
    return value


def lanes(count: int | None) -> int:
    """How many connections may send at once; None for as many as are ever of use.

    Raises:
        ConfigError: an upload cannot go over so many.
    """
    if count is None:
        return control.MAX_LANES
    if not 1 <= count <= MAX_LANES:
        raise ConfigError(f"An upload cannot go over {count} lanes", hint=f"between 1 and {MAX_LANES}")
    return count


def limit(bytes_s: int | None) -> int | None:
    """The most to send a second; 0 for no limit, None for what is set elsewhere.

    Raises:
        ConfigError: it would send nothing.
    """
    if bytes_s is not None and bytes_s != UNLIMITED and bytes_s < LEAST_LIMIT_BYTES_S:
        raise ConfigError(
            f"A limit of {bytes_s} bytes a second would send nothing", hint=f"at least {LEAST_LIMIT_BYTES_S}, or 0"
        )
    return bytes_s


def request_bytes(count: int | None, checksum: bool) -> int | None:  # noqa: FBT001 - the setting beside it
    """The size of every append but the last; None where it is to be measured.

    Raises:
        ConfigError: no request can have it.
    """
    if count is not None and count < 1:
        raise ConfigError(f"A request cannot have {count} bytes", hint="for example `--request-size 6MiB`")
    if count is not None and checksum and count > MAX_CHECKSUMMED_BYTES:
        raise ConfigError(
            f"With checksums a request has at most {MAX_CHECKSUMMED_BYTES} bytes, not {count}",
            hint="leave `--checksum` away, or give a smaller `--request-size`",
        )
    return count


def require_additions(headers: tuple[tuple[str, str], ...], metadata: tuple[tuple[str, str], ...]) -> None:
    """Let nothing that a caller adds to a delivery stand in the place of what we say, or of itself.

    Raises:
        ConfigError: a header is the protocol's own, or a key of the metadata is ours or there twice.
    """
    for name, _ in headers:
        if tus.OWN_HEADERS.fullmatch(name):
            raise ConfigError(
                f"The header {name} is the upload protocol's own", hint="leave it out; it is sent as it must be"
            )
    keys = [*tus.OWN_METADATA, *(key for key, _ in metadata)]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"The metadata {twice} would be told twice", hint="leave one out; file name and type are told anyway"
        )
