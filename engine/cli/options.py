"""Options that several commands share, and what they mean together."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click
from msgspec import Struct

from ..config import PROGRESS, RECIPES, WIRES, size_bytes
from ..model import MAX_LANES
from ..rates import limit_bytes_s, rate_bytes_s

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

_UNITS_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """A time span such as `90s`, `10m`, `24h`; seconds without a unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The span in seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no duration; write 90s, 10m or 24h", param, ctx)
        return float(found[1]) * _UNITS_S[found[2] or ""]


class Rate(click.ParamType[float]):
    """What a link carries, such as `5Mbit`, `800kbit`, `600kB/s`; in bits per second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The rate in bits per second."""
        if isinstance(value, float):
            return value
        bytes_s = rate_bytes_s(str(value))
        if bytes_s is None:
            self.fail(f"{value!r} is no rate; write 5Mbit, 800kbit, 600kB/s or 2MB/s", param, ctx)
        return 8 * bytes_s


class Limit(click.ParamType[int]):
    """The most to send, such as `2MB/s`, `5Mbit/s`, in bytes a second; `off` is 0."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The limit in bytes a second."""
        if isinstance(value, int):
            return value
        limit = limit_bytes_s(str(value))
        if limit is None:
            self.fail(f"{value!r} is no rate of at least 1kB/s; write 500kB/s, 2MB/s, 5Mbit/s or off", param, ctx)
        return limit


class Size(click.ParamType[int]):
    """A number of bytes such as `6MiB`, `50MB`; bytes without a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size in bytes."""
        if isinstance(value, int):
            return value
        count = size_bytes(str(value))
        if not count:
            self.fail(f"{value!r} is no size; write 6MiB, 50MB or 1048576", param, ctx)
        return count


class Common(Struct, frozen=True):
    """What every command that works on jobs understands."""

    local: bool = False
    endpoint: str | None = None
    recipe: str | None = None
    track: str | None = None
    wire: str | None = None
    checksum: bool = False
    max_lanes: int | None = None
    congestion: str | None = None
    request_bytes: int | None = None
    on_ambiguous: str = "stop"
    no_fallback: bool = False
    retry_for_s: float | None = None
    limit_bytes_s: int | None = None
    polite: bool | None = None
    new: bool = False
    json: bool = False
    progress: str = "bar"
    verbose: int = 0


_OUTPUT_OPTIONS = (
    click.option("--json", is_flag=True, help="Answer in JSON, one object a line."),
    click.option(
        "--progress",
        type=click.Choice(PROGRESS),
        default="bar",
        show_default=True,
        help="How progress is shown, on stderr.",
    ),
    click.option("-v", "--verbose", count=True, help="Say more on stderr; twice for every request."),
)
_SERVICE_OPTIONS = (
    click.option("--local", is_flag=True, help="Use the service built in, on this machine, for this run."),
    click.option("--endpoint", metavar="URL", help="The service's address; by default SPEECHSTREAM_ENDPOINT."),
)
_TRANSFER_OPTIONS = (
    click.option("--checksum", is_flag=True, help="Have the server check every append, where it can."),
    click.option(
        "--max-lanes",
        type=click.IntRange(1, MAX_LANES),
        metavar="N",
        help="Send over so many connections at most, where the server joins what they bring; by default 48.",
    ),
    click.option(
        "--congestion",
        metavar="auto|off|NAME",
        help="How connections find their rate: BBR where Linux lets you (auto), as the system does (off), or by name.",
    ),
    click.option(
        "--request-size",
        "request_bytes",
        type=Size(),
        metavar="SIZE",
        help="Send so much in every request but the last, such as 6MiB; by default it is measured.",
    ),
    click.option(
        "--on-ambiguous",
        type=click.Choice(["stop", "retry"]),
        default="stop",
        show_default=True,
        help="When a single-request upload may or may not have made a job: stop, or send it again.",
    ),
    click.option(
        "--retry-for",
        "retry_for_s",
        type=Duration(),
        metavar="TIME",
        help="Give up after so long without progress, the far side being at fault; by default 24h.",
    ),
    click.option(
        "--limit-rate",
        "limit_bytes_s",
        type=Limit(),
        metavar="RATE",
        help="Send at most so much, such as 2MB/s; kept with the job. `speechstream limit` changes it meanwhile.",
    ),
    click.option(
        "--polite/--no-polite",
        default=None,
        help="Give way to other traffic on your line, and keep its delay short.",
    ),
)
_WIRE_OPTIONS = (
    click.option("--wire", type=click.Choice(WIRES), help="How bytes travel; by default what the server offers."),
)
_PREPARING_OPTIONS = (
    click.option(
        "--no-fallback", is_flag=True, help="Fail where preparing fails, instead of sending the recording as it is."
    ),
)
_NEW_OPTIONS = (click.option("--new", is_flag=True, help="Make a new job even for a recording that has one."),)
_GROUPS: Final = {
    "service": _SERVICE_OPTIONS,
    "transfer": _TRANSFER_OPTIONS,
    "wire": _WIRE_OPTIONS,
    "new": _NEW_OPTIONS,
    "preparing": _PREPARING_OPTIONS,
    "output": _OUTPUT_OPTIONS,
}


_RECIPE_OPTIONS: Final = (
    click.option("--recipe", type=click.Choice(RECIPES), help="How to prepare the recording; by default auto."),
    click.option(
        "--track",
        metavar="N|LANG",
        help="The audio track to use, by number from 1 or language; by default the recording's own default.",
    ),
)


def recipe_options(command: Callable[P, R]) -> Callable[P, R]:
    """`--recipe` and `--track`."""
    for option in reversed(_RECIPE_OPTIONS):
        command = option(command)
    return command


def common(*groups: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command the options of `groups` as one `Common`, its first argument."""

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(function)
        def command(**values: Any) -> R:
            names = Common.__struct_fields__
            chosen = Common(**{name: values.pop(name) for name in list(values) if name in names})
            return function(chosen, **values)

        decorated: Callable[..., R] = command
        for group in reversed(groups):
            for option in reversed(_GROUPS[group]):
                decorated = option(decorated)
        return decorated

    return decorate
