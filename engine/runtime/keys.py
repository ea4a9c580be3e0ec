"""Where the API key comes from: environment, key command, a 0600 config file, or the system's keyring; never argv."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from ..errors import ConfigError
from ..redaction import Secret
from ..wire.address import same_origin

if TYPE_CHECKING:
    from ..config import Settings

COMMAND_WAIT_S: Final = 60.0  # it may ask a person for a passphrase
KEYRING_SERVICE: Final = "speechstream"


def find_key(settings: Settings, endpoint: str, given: Secret | None = None) -> Secret:
    """The key for `endpoint`. Blocks: a key command may ask a person.

    A key that was `given` or is in the environment belongs to the configured service, one that the config file names to
    the endpoint in that file. For another service, such as that of an older job, only the keyring is asked, which
    knows its keys by endpoint.

    Raises:
        ConfigError: there is none, or its source fails.
    """
    configured = settings.endpoint
    own = not configured or same_origin(configured, endpoint)
    filed = own and (not settings.file_endpoint or same_origin(settings.file_endpoint, endpoint))
    key = (given or _from_environment()) if own else None
    if key is None and filed:
        key = _from_command(settings) or settings.file_api_key
    key = key or _from_keyring(endpoint)
    if key is None and not own:
        raise ConfigError(
            f"The key at hand belongs to {configured}, and not to {endpoint}",
            hint=f"SPEECHSTREAM_ENDPOINT={endpoint} with that service's key, then the same command",
        )
    if key is None:
        raise ConfigError(
            f"There is no API key for {endpoint}",
            hint="set SPEECHSTREAM_API_KEY, or try without a service: add `--local`",
        )
    if not key.reveal().isascii() or not key.reveal().isprintable():
        raise ConfigError("The API key holds characters that no header can carry", hint="check where it is copied from")
    return key


def _from_environment() -> Secret | None:
    value = os.environ.get("SPEECHSTREAM_API_KEY", "").strip()
    return Secret(value) if value else None


def _from_command(settings: Settings) -> Secret | None:
    words = settings.api_key_command
    if words is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, from the user's own file, without a shell
            words, stdout=subprocess.PIPE, timeout=COMMAND_WAIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = _reason(error)
        raise ConfigError(f"The api_key_command {words[0]!r} gave no key: {reason}") from None
    value = done.stdout.decode("utf-8", "replace").strip()
    if not value:
        raise ConfigError(f"The api_key_command {words[0]!r} printed nothing")
    return Secret(value)


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    match error:
        case subprocess.CalledProcessError():
            return f"it ended with exit status {error.returncode}"
        case subprocess.TimeoutExpired():
            return f"it took longer than {COMMAND_WAIT_S:.0f} s"
        case OSError():
            return error.strerror or str(error)
    return type(error).__name__


def _from_keyring(endpoint: str) -> Secret | None:
    """The keyring's, where the optional library is installed and a keyring is there."""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    try:
        value = keyring.get_password(KEYRING_SERVICE, endpoint)
    except keyring.errors.KeyringError:
        return None
    return Secret(value) if value else None
