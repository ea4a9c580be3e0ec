"""What the system's refusal to write means for the user."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .errors import NoSpace, OutputDenied, PreprocessError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn the system's refusals at `path` into ours.

    Raises:
        NoSpace: Its disk is full.
        OutputDenied: Any other reason.
    """
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def refusal(path: Path, error: OSError) -> PreprocessError:
    """The error to raise for a failed write at `path`."""
    if error.errno in _FULL:
        return NoSpace(
            f"The disk of {str(path.parent)!r} is full.", hint="Free some space there and run the same command again."
        )
    return OutputDenied(
        f"{str(path)!r} cannot be written: {error.strerror or error}.",
        hint="Check the folder's permissions and its disk.",
    )
