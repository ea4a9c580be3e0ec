"""`speechstream upload`: as far as the processing_id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict

from .folders import Places, each_of, folder_options
from .growing import Growing, growing_options
from .options import Common, common, recipe_options

if TYPE_CHECKING:
    from ..model import Receipt


@click.command(epilog="Example: speechstream upload lecture-1.mov Lectures/")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|DIR...")
@recipe_options
@folder_options
@growing_options
@common("service", "transfer", "wire", "preparing", "new", "output")
def upload(  # noqa: PLR0913 - click's: one argument an option
    options: Common,
    files: tuple[Path, ...],
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    follow: bool,
    idle_s: float,
    name: str | None,
) -> None:
    """Upload each FILE and print its processing_id, one a line, in the order of the FILEs.

    Several are worked on at once. Of a DIR, all recordings in it and below are uploaded; each processing_id is printed
    with its file as it comes. Hidden files, empty ones, and what is no recording by its name are passed over.

    `speechstream wait` gets the transcript later. With - for FILE, standard input is uploaded while it comes; what
    has come is kept, and sent by `speechstream resume` after an interruption.
    """
    from ..progress.sentences import printable
    from .batch import as_it_is, each
    from .results import print_json

    manner = Growing(follow, idle_s, name)
    manner.require_one(files)
    files = tuple(dict.fromkeys(files))  # a file named twice is one recording
    places = Places(files, include, exclude)
    places.require_folders()

    def show(receipt: Receipt) -> None:
        if options.json:
            print_json(asdict(receipt))
        else:
            click.echo(receipt.processing_id + (f"  {printable(receipt.source)}" if places.has_folders else ""))

    if len(files) > 1 or places.has_folders:
        each_of(options, places, as_it_is, show)
        return
    each(options, files, manner.upload, as_it_is, show)
