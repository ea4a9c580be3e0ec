"""`speechstream resume`: go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict

from .options import Common, common

if TYPE_CHECKING:
    from ..client import Client
    from ..model import Delivery, Receipt, Transcript


@click.command(epilog="Example: speechstream resume")
@click.argument("jobs", nargs=-1, metavar="[JOB...]")
@common("transfer", "preparing", "output")
def resume(options: Common, jobs: tuple[str, ...]) -> None:
    """Go on with the named jobs, or with all that are not at their end, and print their results.

    Transcripts are printed as `transcribe` does; deliveries as `send` does.
    """
    from .. import config
    from ..model import Delivery, Transcript
    from ..runtime.manifest import Manifest
    from .batch import each
    from .results import print_heading, print_json, print_transcript
    from .session import tell

    names = jobs
    if not names:
        with Manifest(config.load().state_dir) as manifest:
            names = tuple(manifest.overview.unfinished())
        if not names:
            tell("there is nothing to resume")
            return

    def show(result: Transcript | Receipt | Delivery) -> None:
        if isinstance(result, Delivery):
            answer: dict[str, object] = {**asdict(result), "url": result.url.reveal()}
            line = result.url.reveal()
        else:
            answer = asdict(result)
            line = result.text if isinstance(result, Transcript) else result.processing_id
        if options.json:
            print_json(answer)
        else:
            if len(names) > 1:
                print_heading(result.source)
            print_transcript(line)

    async def bring(client: Client, name: str) -> str:
        return (await client.bring_on(name)).id

    async def finish(client: Client, job_id: str) -> Transcript | Receipt | Delivery:
        return await client.resume(job_id)

    each(options, names, bring, finish, show)
