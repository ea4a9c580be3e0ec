"""`speechstream status` and `speechstream wait`: what the service says of a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict

from .options import Common, common

if TYPE_CHECKING:
    from ..client import Client
    from ..model import JobStatus, Transcript


@click.command(epilog="Example: speechstream status k3f9qz")
@click.argument("name", metavar="ID|JOB")
@common("service", "output")
def status(options: Common, name: str) -> None:
    """Ask the service once how a job fares, by job or processing_id, and print its word for it.

    Waits for its turn: the service takes one such call per id in 5 seconds.
    """
    from .results import print_json
    from .session import run

    async def work(client: Client) -> JobStatus:
        return await client.status(name)

    answer = run(options, work)
    if options.json:
        print_json(asdict(answer))
    else:
        click.echo(answer.status + (f": {answer.message}" if answer.message else ""))


@click.command(epilog="Example: speechstream wait k3f9qz -o interview.txt")
@click.argument("name", metavar="ID|JOB")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the transcript here.")
@common("service", "transfer", "output")
def wait(options: Common, name: str, output: Path | None) -> None:
    """Wait for a job's transcript, by job or processing_id, and print it.

    May be stopped and taken up again at any time, also on another machine by processing_id.
    """
    from .results import print_json, print_transcript, require_writable, transcript_path, write_atomically
    from .session import run

    if output is not None:
        require_writable(output)

    async def work(client: Client) -> Transcript:
        return await client.wait(name)

    transcript = run(options, work)
    if options.json:
        print_json(asdict(transcript))
    else:
        print_transcript(transcript.text)
    if output is not None:
        name = transcript.source or transcript.processing_id
        write_atomically(transcript_path(output, name, ".txt"), f"{transcript.text}\n")
