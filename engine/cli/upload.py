"""`speechstream upload`: as far as the processing_id."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .growing import Growing, growing_options
from .options import Common, common, recipe_options

if TYPE_CHECKING:
    from ..model import Receipt


@click.command(epilog="Example: speechstream upload lecture-1.mov lecture-2.mov")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@recipe_options
@growing_options
@common("service", "transfer", "wire", "preparing", "new", "output")
def upload(options: Common, files: tuple[Path, ...], *, follow: bool, idle_s: float, name: str | None) -> None:
    """Upload each FILE and print its processing_id, one a line.

    `speechstream wait` gets the transcript later. With - for FILE, standard input is uploaded while it comes; what
    has come is kept, and sent by `speechstream resume` after an interruption.
    """
    from .batch import as_it_is, each
    from .results import print_json

    manner = Growing(follow, idle_s, name)
    manner.require_one(files)

    def show(receipt: Receipt) -> None:
        if options.json:
            print_json(asdict(receipt))
        else:
            click.echo(receipt.processing_id)

    each(options, files, manner.upload, as_it_is, show)
