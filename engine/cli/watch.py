"""`speechstream watch`: a folder whose recordings are taken as they come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec.structs import asdict

from .folders import Places, folder_options
from .options import Common, Duration, common, recipe_options

if TYPE_CHECKING:
    from ..client import Client
    from ..errors import ExitCode, SpeechStreamError
    from ..model import Receipt, Transcript
    from ..runtime.watching import Watch

_SETTLE: Final = "30s"  # as long as `--follow` waits: voice-activated recorders pause, network shares tell late

_PASSING: Final = frozenset({"Changed", "NotFound", "SourceChanged", "Unreadable"})  # of a stick that was pulled out


@click.command(epilog="Example: speechstream watch /media/recorder -o ~/transcripts")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@recipe_options
@folder_options
@click.option(
    "--settle",
    "settle_s",
    type=Duration(),
    default=_SETTLE,
    show_default=True,
    metavar="TIME",
    help="A recording has ended when it has not changed for so long.",
)
@click.option("--new-only", is_flag=True, help="Leave what is there at the beginning.")
@click.option("--once", is_flag=True, help="Take what is there at the beginning, and end.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the transcripts into this folder.")
@common("service", "transfer", "wire", "preparing", "output")
def watch(  # noqa: PLR0913 - click's: one argument an option
    options: Common,
    folder: Path,
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    settle_s: float,
    new_only: bool,
    once: bool,
    output: Path | None,
) -> None:
    """Upload each recording that comes into DIR, or below it, once it no longer changes; print its processing_id.

    Runs until interrupted, and goes on by the same command: what the service has is not taken again. A folder that goes
    away (a stick, a share), a full disk and a dead network are waited out. With -o, transcripts are waited for and
    written to the same place below that folder, under the recording's whole name.
    """
    from ..errors import UserError
    from .results import require_writable

    places = Places((folder,), include, exclude)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder that could be watched", hint=f"mkdir {folder}, or mount it")
    if new_only and once:
        raise UserError("`--new-only` and `--once` leave nothing to take", hint="leave one of them out")
    if output is not None:
        require_writable(output)
        places.require_room(output)
    _Watcher(options, places, settle_s, new_only=new_only, once=once, output=output).run()


class _Watcher:
    """One run of the command."""

    def __init__(
        self, options: Common, places: Places, settle_s: float, *, new_only: bool, once: bool, output: Path | None
    ) -> None:
        self._options = options
        self._places = places
        self._settle_s = settle_s
        self._new_only = new_only
        self._once = once
        self._output = output
        self._watch: Watch | None = None

    def run(self) -> None:
        """Watch to the end.

        Raises:
            Reported: it has an end, and recordings failed.
        """
        from .batch import gravest
        from .session import Reported, run

        codes = run(self._options, self._work)
        if codes and self._once:
            raise Reported(gravest(codes))

    async def _work(self, client: Client) -> list[ExitCode]:
        from contextlib import aclosing

        from ..core.selection import Selection
        from ..runtime.clock import SystemClock
        from ..runtime.folder import Folder
        from ..runtime.watching import Watch
        from .convoy import Convoy
        from .session import tell

        (root,) = self._places.given
        folder = Folder(
            root.absolute(), Selection(self._places.include, self._places.exclude), client.settings.state_dir
        )
        watch = Watch(folder, self._settle_s, SystemClock(), client.tell, new_only=self._new_only, once=self._once)
        self._watch = watch
        convoy = Convoy(client, self._finish, self._show, failed=self._is_passing, skips=self._has_all)
        if not self._once:
            tell(f"watching {root}", hint="Ctrl-C ends it; nothing is lost by that")
        convoy.tell()
        async with aclosing(watch.found()) as found:
            await convoy.take(found)
        return list(convoy.tally.codes)

    async def _finish(self, client: Client, receipt: Receipt) -> Receipt | Transcript:
        return receipt if self._output is None else await client.wait(receipt.job_id)

    def _show(self, result: Receipt | Transcript) -> None:
        from ..model import Transcript
        from ..progress import aside
        from ..progress.sentences import printable
        from .results import print_json, write_atomically

        if isinstance(result, Transcript):
            write_atomically(self._place(Path(result.source)), f"{result.text}\n")
        with aside():
            if self._options.json:
                print_json(asdict(result))
            else:
                click.echo(f"{result.processing_id}  {printable(result.source)}")
        if self._watch is not None:
            self._watch.done(Path(result.source))

    def _place(self, source: Path) -> Path:
        return self._places.place(self._output or Path(), source, ".txt")

    def _has_all(self, path: Path) -> bool:
        """Whether a recording that the service has needs no more: an earlier run has printed it."""
        if self._watch is not None:
            self._watch.done(path)
        return self._output is None or self._place(path).exists()

    def _is_passing(self, path: Path, error: SpeechStreamError) -> bool:
        """Whether the same recording may be taken later, when what stood in its way is over; then it will be."""
        from ..errors import GaveUp, OutputError, RecordingError
        from .session import tell_error

        passing = isinstance(error, GaveUp | OutputError) or (
            isinstance(error, RecordingError) and error.reason in _PASSING
        )
        if self._watch is None or self._once or not passing:
            if self._watch is not None:
                self._watch.done(path)
            return False
        tell_error(error, about=str(path))
        self._watch.return_(path)
        return True
