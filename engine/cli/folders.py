"""What `upload` and `transcribe` do with many recordings: which they take, and what is said at the end."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click
from msgspec import Struct

from ..core.selection import Passed, Selection
from ..errors import OutputError, RecordingError, UserError
from ..runtime.folder import Folder, Found

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from ..client import Client
    from ..model import Receipt
    from .convoy import Convoy, Tally
    from .options import Common

R = TypeVar("R")
T = TypeVar("T")
_AT_ONCE: Final = 64  # entries listed between two looks at the rest of the program


class Places(Struct, frozen=True):
    """The files and folders of the command line, and which files of the folders are wanted."""

    given: tuple[Path, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def has_folders(self) -> bool:
        """Whether there may be many recordings, more than can be told beforehand."""
        return any(path.is_dir() for path in self.given)

    def require_folders(self) -> None:
        """Make sure that patterns have something to choose from.

        Raises:
            UserError: there is no folder.
        """
        if (self.include or self.exclude) and not self.has_folders:
            raise UserError("`--include` and `--exclude` choose from a folder", hint="speechstream upload DIR")

    def require_room(self, output: Path) -> None:
        """Make sure that the results of a folder have one to go to.

        Raises:
            OutputError: it is none.
        """
        if self.has_folders and not output.is_dir():
            raise OutputError(f"{output} is not a folder, and there may be many results", hint=f"mkdir {output}")

    def place(self, output: Path, source: Path, suffix: str) -> Path:
        """Where a recording's result goes below the folder `output`, which is made as deep as need be.

        Its whole name is kept: of `take.wav` and `take.mp3` neither result may take the other's place.

        Raises:
            OutputError: it cannot be made.
        """
        path = output / self.below(source)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The folder {path.parent} for the result cannot be made: {error.strerror}",
                hint="choose another place with -o",
            ) from error
        return path.with_name(f"{path.name}{suffix}")

    def listing(self, but: Path) -> Listing:
        """A listing of them all, without the folder `but`."""
        selection = Selection(self.include, self.exclude)
        return Listing([Folder(path, selection, but) if path.is_dir() else path for path in self.given])

    def below(self, source: Path) -> Path:
        """A recording's path below the folder it was found in; its name alone where it was given by itself."""
        roots = [root for root in (path.absolute() for path in self.given) if source.is_relative_to(root)]
        return source.relative_to(roots[0]) if roots and roots[0] != source else Path(source.name)


class Listing:
    """Lists recordings as they are asked for, and knows afterwards what was not taken.

    What was named itself is listed whatever it is, and be it nothing: who opens it says so.
    """

    def __init__(self, places: list[Folder | Path]) -> None:
        self._places = places

    async def found(self) -> AsyncGenerator[Found]:
        """The recordings, one after the other."""
        files = self._files()
        while some := await _listed(files):
            for found in some:
                yield found

    async def count(self) -> int:
        """How many recordings there are. Reads the folders once more, and may be cancelled."""
        total = 0
        async with aclosing(Listing(self._again()).found()) as found:
            async for _ in found:
                total += 1
        return total

    @property
    def passed(self) -> Counter[Passed]:
        """How many files were passed over, and why."""
        return sum((place.passed for place in self._places if isinstance(place, Folder)), Counter())

    @property
    def unreadable(self) -> list[RecordingError]:
        """What could not be looked into, in the folders."""
        return [error for place in self._places if isinstance(place, Folder) for error in place.unreadable]

    def _again(self) -> list[Folder | Path]:
        return [
            Folder(place.root, place.selection, place.but) if isinstance(place, Folder) else place
            for place in self._places
        ]

    def _files(self) -> Iterator[Found]:
        for place in self._places:
            if isinstance(place, Folder):
                yield from place.recordings()
                continue
            try:
                facts = place.stat()
            except OSError:
                facts = None
            yield Found(place, facts)


async def _listed(files: Iterator[Found]) -> list[Found]:
    import anyio.to_thread

    some: list[Found] = await anyio.to_thread.run_sync(lambda: list(islice(files, _AT_ONCE)))
    return some


def each_of(
    options: Common,
    places: Places,
    finish: Callable[[Client, Receipt], Awaitable[T]],
    show: Callable[[T], None],
) -> None:
    """For every recording in the `places`: bring it to the service, `finish` it, and `show` the result.

    Those of a folder are shown as they come, files in the order in which they were named. A recording that fails does
    not stop the others.

    Raises:
        UserError: there is no recording.
        SpeechStreamError: what concerns all of them.
        Reported: some failed; each was told, and all once more at the end.
    """
    from .batch import gravest
    from .convoy import Convoy
    from .session import Reported, run

    held: list[tuple[Convoy[T], Listing]] = []

    async def work(client: Client) -> None:
        convoy = Convoy(client, finish, show, order=() if places.has_folders else places.given)
        listing = places.listing(but=client.settings.state_dir)
        held.append((convoy, listing))
        await _travel(convoy, listing)

    try:
        run(options, work)
    finally:
        for convoy, listing in held:
            if convoy.tally.counted:
                _sum_up(convoy.tally, convoy.total, listing, in_json=options.json)
    if not any(convoy.tally.counted for convoy, _ in held):
        raise _nothing(places, Counter[Passed]() if not held else held[0][1].passed)
    codes = [code for convoy, _ in held for code in convoy.tally.codes]
    if codes:
        raise Reported(gravest(codes))


async def _travel(convoy: Convoy[T], listing: Listing) -> None:
    from ..runtime.together import together

    async def count() -> None:
        convoy.total = await listing.count()
        convoy.tell()

    convoy.tell()
    async with together() as tasks, aclosing(listing.found()) as found:
        tasks.start_soon(count)
        await convoy.take(found)
        tasks.cancel_scope.cancel()
    for error in listing.unreadable:
        convoy.tally.add("", error)


def _sum_up(tally: Tally, total: int | None, listing: Listing, *, in_json: bool) -> None:
    """Say on stderr what came of it all, failures last."""
    from .results import as_json
    from .session import tell

    if in_json:
        failures = [{"about": about, "error": error.kind, "message": error.message} for about, error in tally.failures]
        summary: dict[str, object] = {"done": tally.done, "failed": tally.failed, "total": total}
        passed: dict[str, object] = {why.name.lower(): count for why, count in listing.passed.items()}
        click.echo(as_json({"summary": summary, "passed_over": passed, "failures": failures}), err=True)
        return
    if listing.passed:
        tell(f"passed over: {_reasons(listing.passed)}")
    of = f" of {total}" if total is not None and total != tally.done else ""
    tell(f"{tally.done}{of} recordings are at the service, {tally.failed} failed" + (":" if tally.failed else ""))
    for about, error in tally.failures:
        tell(f"  {about}: {error.message}" if about else f"  {error.message}")
    if tally.failed > len(tally.failures):
        tell(f"  and {tally.failed - len(tally.failures)} more")


def _nothing(places: Places, passed: Counter[Passed]) -> UserError:
    where = ", ".join(f"{str(path)!r}" for path in places.given)
    why = f" (passed over: {_reasons(passed)})" if passed else ""
    return UserError(f"There is no recording in {where}{why}", hint="`--include '*'` takes whatever there is")


def _reasons(passed: Counter[Passed]) -> str:
    return ", ".join(f"{count} {why}" for why, count in passed.most_common())


_OPTIONS: Final = (
    click.option(
        "--include",
        multiple=True,
        metavar="GLOB",
        help="Of a folder, take only what this names; repeatable.",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="GLOB",
        help="Of a folder, leave out what this names; repeatable.",
    ),
)


def folder_options(command: Callable[..., R]) -> Callable[..., R]:
    """`--include` and `--exclude`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
