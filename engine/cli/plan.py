"""`speechstream plan`: what each recipe would make of a recording, and what that would cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec import to_builtins
from msgspec.structs import replace

from .options import Common, Rate, common, recipe_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..preparing import Plan

_HEADINGS: Final = ("", "RECIPE", "CODEC", "CHANNELS", "RATE", "SIZE", "PREPARE", "UPLOAD", "TOTAL")
_MINUTE_S, _HOUR_S = 60, 3600
_FEW_S: Final = 10


@click.command(epilog="Example: speechstream plan lecture.mov --uplink 5Mbit")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--uplink",
    "uplink_bits_s",
    type=Rate(),
    metavar="RATE",
    help="What the link carries upwards, such as 5Mbit or 600kB/s; by default what past uploads have found.",
)
@recipe_options
@common("service", "output")
def plan(options: Common, files: tuple[Path, ...], *, uplink_bits_s: float | None) -> None:
    """Show what each recipe would make of each FILE, how long that would take here, and which one is taken and why.

    Nothing is prepared or sent. Preparing and uploading overlap, so the longer of the two is the total.
    """
    from functools import partial

    from .. import config, planning, preparing
    from ..errors import SpeechStreamError
    from ..runtime.local_service import LOCAL
    from .results import print_json
    from .session import Reported, log_to_stderr, tell_error
    from .signals import run_until_signalled

    log_to_stderr(options.verbose)
    settings = config.load()
    endpoint = LOCAL if options.local else options.endpoint or settings.endpoint
    known = planning.remembered(settings.state_dir, endpoint)
    if uplink_bits_s is not None:
        known = replace(known, uplink_bits_s=uplink_bits_s)
    wish = preparing.Wish(options.recipe or settings.recipe, options.track, known)
    failed = None
    for number, file in enumerate(files):
        try:
            made = run_until_signalled(partial(preparing.plan, file.absolute(), wish))
        except SpeechStreamError as error:
            if len(files) == 1:
                raise
            tell_error(error, about=str(file))
            failed = error
            continue
        if options.json:
            print_json(_document(made))
        else:
            click.echo("\n" * bool(number) + "\n".join(_lines(made)))
    if failed is not None:
        raise Reported(failed.exit_code)


def _document(made: Plan) -> dict[str, object]:
    document: dict[str, object] = to_builtins(made, enc_hook=str)  # a path is the one thing JSON has no word for
    return document


def _lines(made: Plan) -> Iterator[str]:
    from ..progress.sentences import printable

    length = "of unknown length" if made.duration_s is None else _time(made.duration_s)
    facts = (made.format_name.partition(",")[0], length, _size(made.size_bytes), made.video and f"with {made.video}")
    yield f"{printable(made.source.name)}: {', '.join(fact for fact in facts if fact)}"
    for track in made.tracks:
        count = f"{track.channels} channel{'' if track.channels == 1 else 's'}"
        traits = (track.language, track.codec, count, _frequency(track.sample_rate_hz), "default" * track.default)
        used = ": used" if track.is_used and len(made.tracks) > 1 else ""
        yield f"track {track.number}: {', '.join(printable(trait) for trait in traits if trait)}{used}"
    yield f"channels: {made.mix_reason} ({made.mix})"
    yield f"link: {_link(made)}"
    yield f"machine: {_machine(made)}"
    yield ""
    yield from _table(made)
    yield ""
    yield f"{made.wish} takes {made.reason}" if made.wish == "auto" else made.reason
    yield from (f"warning: {printable(warning)}" for warning in made.warnings)


def _table(made: Plan) -> Iterator[str]:
    rows = [_HEADINGS]
    for row in made.rows:
        mark = "*" if row.recipe == made.recipe else ""
        costs = (_size(row.size_bytes), _time(row.prepare_s), _time(row.upload_s), _time(row.total_s))
        rows.append((mark, row.recipe, row.codec or "?", str(row.channels), _frequency(row.sample_rate_hz), *costs))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    refusals: dict[str, str | None] = {row.recipe: row.refusal for row in made.rows}
    for cells in rows:
        refusal = refusals.get(cells[1])
        if refusal is not None:
            yield f"{cells[0]:{widths[0]}}  {cells[1]:{widths[1]}}  {refusal}"
            continue
        left = "  ".join(cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True))
        right = "  ".join(cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True))
        yield f"{left}  {right}"


def _link(made: Plan) -> str:
    bits_s = made.uplink_bits_s
    rate = f"{bits_s / 1e6:.1f} Mbit/s" if bits_s >= 1e6 else f"{bits_s / 1e3:.0f} kbit/s"  # noqa: PLR2004 - a million
    return f"{rate}, assumed, as nothing is known of it (`--uplink` tells)" if made.uplink_is_assumed else rate


def _machine(made: Plan) -> str:
    cores = f"{made.cores} processor{'' if made.cores == 1 else 's'}"
    if made.speed_is_assumed:
        return f"{cores}, assumed as fast as those the recipes were measured on"
    return f"{cores}, {made.speed:.1f} times as fast as those the recipes were measured on"


def _frequency(hertz: int | None) -> str:
    return f"{hertz / 1000:g} kHz" if hertz else ""


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "?"
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6)):
        if size_bytes >= bytes_each:
            return f"{size_bytes / bytes_each:.1f} {unit}"
    return f"{size_bytes / 1000:.0f} kB"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds >= _HOUR_S:
        return f"{seconds // _HOUR_S:.0f}:{seconds % _HOUR_S // _MINUTE_S:02.0f} h"
    if seconds >= _MINUTE_S:
        return f"{seconds // _MINUTE_S:.0f}:{seconds % _MINUTE_S:02.0f} min"
    return f"{seconds:.0f} s" if seconds >= _FEW_S else f"{seconds:.1f} s"
