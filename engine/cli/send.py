"""`speechstream send`: bytes to any tus server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click

from ..redaction import remember
from .options import Common, common

if TYPE_CHECKING:
    from ..client import Client
    from ..model import Delivery

_OURS: Final = frozenset({"filename", "filetype"})
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)")  # field-name is a token, RFC 9110 section 5.1


def _headers(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        found = _HEADER.fullmatch(value)
        if found is None or not found[2].isascii() or not found[2].isprintable():
            raise click.BadParameter("write it as 'Name: value'")
        remember(found[2])
        pairs.append((found[1], found[2]))
    return tuple(pairs)


def _metadata(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.isascii() or not key.isprintable() or not key or set(key) & {" ", ","}:
            raise click.BadParameter("write it as KEY=VALUE; a key is ASCII without spaces and commas")
        if key in _OURS:
            raise click.BadParameter(f"{key} is told anyway")
        pairs.append((key, text))
    return tuple(pairs)


class Destination(TypedDict):
    """Where the bytes go, and what goes with them."""

    to: str | None
    upload_url: str | None
    headers: tuple[tuple[str, str], ...]
    metadata: tuple[tuple[str, str], ...]


@click.command(epilog="Example: speechstream send lecture.mp4 --to https://tus.example/files/")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", metavar="URL", help="The server's creation URL.")
@click.option("--upload-url", metavar="URL", help="Instead: an upload made for this file already.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    callback=_headers,
    help="A header for that server alone; may be repeated.",
)
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_metadata,
    help="What the server is told of the upload, beside filename and filetype; may be repeated.",
)
@common("transfer", "new", "output")
def send(options: Common, file: Path, **given: Unpack[Destination]) -> None:
    """Deliver FILE's bytes to a tus server and print the URL of the upload.

    No job is made. Repeat the command after any interruption: it goes on where the server stands. Your API key is
    only sent where the URL is the configured service's own; for others there is --header.
    """
    from .results import print_json
    from .session import run

    async def work(client: Client) -> Delivery:
        return await client.send(file, **given)

    delivery = run(options, work)
    url = delivery.url.reveal()
    if options.json:
        print_json(
            {
                "job_id": delivery.job_id,
                "url": url,
                "size_bytes": delivery.size_bytes,
                "source": delivery.source,
                "proof": delivery.proof,
            }
        )
    else:
        click.echo(url)
