"""Every setting, from where it comes, and what it means. `docs/config.md` is checked against these tables.

Order of precedence: an option on the command line or an argument of the library, then the environment, then the
config file, then the default.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .errors import ConfigError
from .model import MAX_LANES
from .rates import limit_bytes_s
from .redaction import Secret
from .timetable import Timetable, timetable

if TYPE_CHECKING:
    from collections.abc import Mapping

RECIPES: Final = ("auto", "standard", "high", "small", "lossless", "copy", "video", "as-is")
WIRES: Final = ("auto", "single", "tus")
_UNITS_BYTES: Final = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
PROGRESS: Final = ("bar", "json", "none")

VARIABLES: Final[dict[str, str]] = {
    "SPEECHSTREAM_API_KEY": "The API key. Wins over every other source of a key.",
    "SPEECHSTREAM_ENDPOINT": "Base address of the service, such as https://speech.example/v1.",
    "SPEECHSTREAM_STATE_DIR": "Folder for the manifest, prepared artifacts and the local service's data.",
    "SPEECHSTREAM_CONFIG": "Path of the config file.",
    "SPEECHSTREAM_LIMIT_RATE": "The most to send, such as 2MB/s, at any time of the day; off for no limit.",
    "SPEECHSTREAM_FFMPEG": "Path of the ffmpeg to use instead of the one found.",
    "NO_COLOR": "Set to anything: no colour in messages.",
}

SETTINGS: Final[dict[str, str]] = {
    "endpoint": "Base address of the service; the same as SPEECHSTREAM_ENDPOINT.",
    "api_key": "The API key itself. The file must then be readable by you alone (chmod 600).",
    "api_key_command": 'A command, as a list of words, that prints the key, such as ["pass", "speech"].',
    "state_dir": "The same as SPEECHSTREAM_STATE_DIR.",
    "recipe": "How to prepare recordings unless told: auto, standard, high, small, lossless, copy, video or as-is.",
    "wire": "How bytes travel unless told: auto, single or tus.",
    "max_lanes": "How many connections may send at once where the server joins what they bring, 1 to 64 (48).",
    "congestion": "How connections find their rate: auto (BBR where Linux lets you), off, or a name Linux knows.",
    "request_size": "Size of every request's payload but the last, such as 6MiB, for servers that insist on one.",
    "retry_for_s": "Seconds without an acknowledged byte, the far side being at fault, before giving up (86400).",
    "limit_rate": "The most to send, such as 2MB/s or 5Mbit/s, where the timetable says nothing (off).",
    "limit_timetable": 'When to send how much, such as ["Mon-Fri 08:00-18:00 500kB/s", "22:00-06:00 off"]; see below.',
    "polite": "Whether uploads give way to other traffic on your line, and keep its delay short (false).",
}


class Settings(Struct, frozen=True):
    """All settings, resolved. A key is not among them: it is fetched when first needed."""

    endpoint: str | None
    state_dir: Path
    config_path: Path
    recipe: str
    wire: str
    max_lanes: int | None
    congestion: str
    request_bytes: int | None
    retry_for_s: float | None
    limit_bytes_s: int | None
    timetable: Timetable | None
    polite: bool
    file_endpoint: str | None
    file_api_key: Secret | None
    api_key_command: tuple[str, ...] | None


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment and the config file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, holds an unknown or malformed setting, or holds a key
            and can be read by others.
    """
    env = os.environ if environment is None else environment
    path = Path(env.get("SPEECHSTREAM_CONFIG") or _user_folder("config") / "config.toml")
    values = _read(path, named="SPEECHSTREAM_CONFIG" in env)
    state = env.get("SPEECHSTREAM_STATE_DIR") or _text(values, "state_dir", path)
    key = _text(values, "api_key", path)
    file_endpoint = _text(values, "endpoint", path)
    endpoint = env.get("SPEECHSTREAM_ENDPOINT") or file_endpoint
    limit = env.get("SPEECHSTREAM_LIMIT_RATE")
    return Settings(
        endpoint=endpoint.rstrip("/") if endpoint else None,
        state_dir=Path(state).expanduser().absolute() if state else _user_folder("state"),
        config_path=path,
        recipe=_choice(values, "recipe", RECIPES, path),
        wire=_choice(values, "wire", WIRES, path),
        max_lanes=_count(values, "max_lanes", MAX_LANES, path),
        congestion=_text(values, "congestion", path) or "auto",
        request_bytes=_size(values, "request_size", path),
        retry_for_s=_seconds(values, path),
        limit_bytes_s=_limit(limit, "SPEECHSTREAM_LIMIT_RATE") if limit else _file_limit(values, path),
        timetable=None if limit else _timetable(values, path),
        polite=_switch(values, "polite", path),
        file_endpoint=file_endpoint,
        file_api_key=Secret(key) if key else None,
        api_key_command=_words(values, path),
    )


def size_bytes(text: str) -> int | None:
    """A size in bytes from `6MiB`, `50MB` or `1048576`; None where it is none."""
    found = re.fullmatch(r"(\d{1,12})\s*(B|kB|KB|MB|GB|KiB|MiB|GiB|)", text.strip())
    return int(found[1]) * _UNITS_BYTES[found[2]] if found else None


def _user_folder(kind: str) -> Path:
    """The platform's folder for us; the XDG rule is followed here so that the usual case imports nothing."""
    home = os.environ.get("XDG_CONFIG_HOME" if kind == "config" else "XDG_STATE_HOME")
    if home:
        return Path(home) / "speechstream"
    if sys.platform == "linux":
        user = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where nobody has a home, as in containers
        return Path(user, ".config" if kind == "config" else ".local/state", "speechstream")
    import platformdirs

    dirs = platformdirs.PlatformDirs("speechstream", appauthor=False)
    return Path(dirs.user_config_dir if kind == "config" else dirs.user_state_dir)


def _read(path: Path, *, named: bool) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            said = file.read()
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        if named:
            raise ConfigError(f"The config file {path} does not exist", hint="unset SPEECHSTREAM_CONFIG") from None
        return {}
    except OSError as error:
        raise ConfigError(f"The config file {path} cannot be read: {error.strerror}") from error
    if not said:
        return {}
    import tomllib

    try:
        values = tomllib.loads(said.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The config file {path} is not TOML: {error}") from error
    unknown = sorted(set(values) - set(SETTINGS))
    if unknown:
        raise ConfigError(
            f"The config file {path} has a setting nobody knows: {unknown[0]}",
            hint=f"known are {', '.join(sorted(SETTINGS))}",
        )
    if "api_key" in values and mode & 0o077:
        raise ConfigError(f"The config file {path} holds a key and can be read by others", hint=f"chmod 600 {path}")
    return values


def _text(values: Mapping[str, object], name: str, path: Path) -> str | None:
    value = values.get(name)
    if value is None or (isinstance(value, str) and value):
        return value
    raise ConfigError(f"In {path}, {name} must be a text that is not empty")


def _choice(values: Mapping[str, object], name: str, choices: tuple[str, ...], path: Path) -> str:
    value = values.get(name, choices[0])
    if value not in choices:
        raise ConfigError(f"In {path}, {name} must be one of {', '.join(choices)}")
    return str(value)


def _seconds(values: Mapping[str, object], path: Path) -> float | None:
    value = values.get("retry_for_s")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ConfigError(f"In {path}, retry_for_s must be a number of seconds")
    return float(value)


def _count(values: Mapping[str, object], name: str, most: int, path: Path) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError(f"In {path}, {name} must be a number between 1 and {most}")
    return value


def _size(values: Mapping[str, object], name: str, path: Path) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    count = None if isinstance(value, bool) or not isinstance(value, (int, str)) else size_bytes(str(value))
    if not count:
        raise ConfigError(f'In {path}, {name} must be a size, such as "6MiB"')
    return count


def _switch(values: Mapping[str, object], name: str, path: Path) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"In {path}, {name} must be true or false")
    return value


def _file_limit(values: Mapping[str, object], path: Path) -> int | None:
    text = _text(values, "limit_rate", path)
    return None if text is None else _limit(text, f"In {path}, limit_rate")


def _limit(text: str, name: str) -> int:
    limit = limit_bytes_s(text)
    if limit is None:
        raise ConfigError(f"{name} must be a rate of at least 1kB/s, or off, and is {text!r}", hint='such as "2MB/s"')
    return limit


def _timetable(values: Mapping[str, object], path: Path) -> Timetable | None:
    lines = values.get("limit_timetable")
    if lines is None:
        return None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ConfigError(f"In {path}, limit_timetable must be a list of texts")
    try:
        return timetable(lines)
    except ValueError as error:
        raise ConfigError(
            f"In {path}, limit_timetable has an entry that cannot be read: {str(error)!r}",
            hint='write it as "08:00-18:00 500kB/s", "Mon-Fri 08:00-18:00 500kB/s" or "Sat,Sun 22:00-06:00 off"',
        ) from error


def _words(values: Mapping[str, object], path: Path) -> tuple[str, ...] | None:
    value = values.get("api_key_command")
    if value is None:
        return None
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ConfigError(f"In {path}, api_key_command must be a list of words")
