"""Writes what a command came for: to stdout, and to a file that appears whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import OutputError
from ..progress.sentences import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def as_json(value: Mapping[str, object]) -> str:
    """JSON on one line; bytes of a file name that are no text come as escapes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout."""
    click.echo(as_json(value))


def print_transcript(text: str) -> None:
    """The text as it is; to a terminal, without what could move its cursor."""
    click.echo("\n".join(map(printable, text.splitlines())) if sys.stdout.isatty() else text)


def print_heading(source: str) -> None:
    """Whose result follows, where there are several."""
    click.echo(f"== {printable(source)} ==")


def transcript_path(output: Path, source: str, suffix: str) -> Path:
    """Where a transcript goes: `output` itself, or in a folder a file named after the recording."""
    return output / f"{Path(source).stem}{suffix}" if output.is_dir() else output


def require_writable(output: Path, sources: Sequence[Path] = (), suffix: str = "") -> None:
    """Find out before the work that each result has a place of its own, which can be written.

    Raises:
        OutputError: the folder is not there or cannot be written, or two results would go to one file.
    """
    if len(sources) > 1 and not output.is_dir():
        raise OutputError(f"{output} is not a folder, and there are several transcripts", hint=f"mkdir {output}")
    taken: dict[Path, Path] = {}
    for source in sources:
        target = transcript_path(output, str(source), suffix)
        require_not_the_recording(target, source)
        other = taken.setdefault(target, source)
        if other != source:
            raise OutputError(
                f"The transcripts of {other} and {source} would go to one file in {output}",
                hint="transcribe them one after the other, each with its own -o",
            )
    folder = output if output.is_dir() else output.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} for the result does not exist", hint=f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"The folder {folder} for the result cannot be written", hint="choose another with -o")


def require_not_the_recording(output: Path, source: Path) -> None:
    """Keep a result from taking the place of what cannot be made again, under whatever name.

    Raises:
        OutputError: both are one file.
    """
    if output.exists() and source.exists() and output.samefile(source):
        raise OutputError(f"{output} is the recording itself", hint="choose another place for the result with -o")


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` with `text`: a reader sees the old file or the whole new one, also after a power cut.

    A link is followed; what is no regular file (a pipe, a device) is written to and not replaced.

    Raises:
        OutputError: the disk will not take it.
    """
    import tempfile

    draft = None
    path = path.resolve()
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.absolute().parent, prefix=".speechstream.", delete=False
        ) as file:
            draft = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)
        draft.replace(path)
    except OSError as error:
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise OutputError(
            f"The result cannot be written to {path}: {error.strerror}", hint="it is kept; repeat with another -o"
        ) from error
