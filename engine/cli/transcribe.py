"""`speechstream transcribe`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict

from .folders import Places, each_of, folder_options
from .growing import Growing, growing_options
from .options import Common, common, recipe_options

if TYPE_CHECKING:
    from ..client import Client
    from ..model import Receipt, Transcript


@click.command(epilog="Example: speechstream transcribe --local interview.mp4 -o interview.txt")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|DIR...")
@recipe_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Also write the transcript here; a folder for several."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What is printed and written.",
)
@folder_options
@growing_options
@common("service", "transfer", "wire", "preparing", "new", "output")
def transcribe(  # noqa: PLR0913 - click's: one argument an option
    options: Common,
    files: tuple[Path, ...],
    *,
    output: Path | None,
    form: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    follow: bool,
    idle_s: float,
    name: str | None,
) -> None:
    """Upload each FILE, wait for its transcript, and print it. With - for FILE, standard input is the recording.

    Several are worked on at once, and printed in their order. Of a DIR, all recordings in it and below are taken, and
    transcripts printed as they come; with -o each is written to the same place below that folder, under the recording's
    whole name.

    May be repeated after any interruption: a recording makes one job, and a transcript already had is printed again.
    """
    from .batch import each
    from .results import as_json, print_heading, print_transcript, require_writable, transcript_path, write_atomically

    manner = Growing(follow, idle_s, name)
    manner.require_one(files)
    files = tuple(dict.fromkeys(files))  # a file named twice is one recording
    in_json = options.json or form == "json"
    suffix = ".json" if in_json else ".txt"
    places = Places(files, include, exclude)
    places.require_folders()
    if output is not None:
        require_writable(output, () if places.has_folders else files, suffix)
        places.require_room(output)

    def show(transcript: Transcript) -> None:
        document = as_json(asdict(transcript))
        if in_json:
            click.echo(document)
        else:
            if len(files) > 1 or places.has_folders:
                print_heading(transcript.source)
            print_transcript(transcript.text)
        if output is not None:
            text = document if in_json else transcript.text
            source = Path(transcript.source)
            target = places.place(output, source, suffix) if places.has_folders else None
            write_atomically(target or transcript_path(output, transcript.source, suffix), f"{text}\n")

    async def wait(client: Client, receipt: Receipt) -> Transcript:
        return await client.wait(receipt.job_id)

    if len(files) > 1 or places.has_folders:
        each_of(options, places, wait, show)
        return
    each(options, files, manner.upload, wait, show)
