"""Writes what a command came for: to stdout, and to a file that appears whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def transcript_path(output: Path, source: str, *, several: bool, suffix: str) -> Path:
    """Where a transcript goes: `output` itself, or for several recordings a file in it named after each.

    Raises:
        OutputError: several transcripts were sent to one file.
    """
    if output.is_dir():
        return output / f"{Path(source).stem}{suffix}"
    if several:
        raise OutputError(f"{output} is not a folder, and there are several transcripts", hint=f"mkdir {output}")
    return output


def require_writable(output: Path) -> None:
    """Find out before the work that its result can be written.

    Raises:
        OutputError: the folder is not there or cannot be written.
    """
    folder = output if output.is_dir() else output.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} for the result does not exist", hint=f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"The folder {folder} for the result cannot be written", hint="choose another with -o")


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` with `text`: a reader sees the old file or the whole new one, also after a power cut.

    Raises:
        OutputError: the disk will not take it.
    """
    draft = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.absolute().parent, prefix=f".{path.name}.", delete=False
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
