"""`speechstream upload`: as far as the processing_id."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import Common, common, recipe_option

if TYPE_CHECKING:
    from ..client import Client
    from ..model import Receipt


@click.command(epilog="Example: speechstream upload lecture-1.mov lecture-2.mov")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@recipe_option()
@common("service", "transfer", "wire", "new", "output")
def upload(options: Common, files: tuple[Path, ...]) -> None:
    """Upload each FILE and print its processing_id, one a line.

    `speechstream wait` gets the transcript later.
    """
    from .batch import as_it_is, each
    from .results import print_json

    def show(receipt: Receipt) -> None:
        if options.json:
            print_json(asdict(receipt))
        else:
            click.echo(receipt.processing_id)

    async def transfer(client: Client, file: Path) -> Receipt:
        return await client.upload(file)

    each(options, files, transfer, as_it_is, show)
