"""What `upload` and `transcribe` understand of recordings that are still being written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click
from msgspec import Struct

from .options import Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client import Client
    from ..model import Receipt

R = TypeVar("R")
PIPE: Final = Path("-")
_STDIN: Final = 0


class Growing(Struct, frozen=True):
    """How the command takes its recordings: as they are, or while they are being written."""

    follow: bool = False
    idle_s: float = 30.0
    name: str | None = None

    def require_one(self, files: tuple[Path, ...]) -> None:
        """Make sure that what grows is alone: others would wait for it for hours.

        Raises:
            UserError: it is not, or a name is given to a file that has one.
        """
        from ..errors import UserError

        if len(files) > 1 and (self.follow or PIPE in files):
            raise UserError("A recording that is still being written must be the only one", hint="run it by itself")
        if self.name is not None and files != (PIPE,):
            raise UserError("`--name` is for standard input; a file has a name", hint="leave `--name` out")
        if self.follow and files == (PIPE,):
            raise UserError("Standard input needs no `--follow`: it is read to its end", hint="leave `--follow` out")

    async def upload(self, client: Client, file: Path) -> Receipt:
        """Upload one recording in that manner."""
        if file == PIPE:
            return await client.upload_pipe(_STDIN, name=self.name or "stdin")
        if self.follow:
            return await client.upload_growing(file, idle_s=self.idle_s)
        return await client.upload(file)


_OPTIONS: Final = (
    click.option(
        "--follow", is_flag=True, help="FILE is still being recorded: upload it as it grows, until it no longer does."
    ),
    click.option(
        "--idle",
        "idle_s",
        type=Duration(),
        default="30s",
        show_default=True,
        metavar="TIME",
        help="With --follow: the recording has ended when it has not grown for so long.",
    ),
    click.option("--name", metavar="NAME", help="With - for FILE: what the service is told the recording is called."),
)


def growing_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options for recordings that grow."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
