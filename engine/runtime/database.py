"""The manifest's file: opened with the care it deserves, every change one transaction, every error explained."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from ..errors import OutputError, StateError
from .ownership import in_use
from .schema import migrate, require_known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..errors import SpeechStreamError

REPAIR: Final = "speechstream doctor --repair"
REPLACEMENT: Final = "manifest.db.new"  # a repaired manifest, whole, about to take its place
_BUSY_PAUSE_S: Final = 0.02
BUSY_TIMEOUT_S: Final = 30.0  # another process's commit lasts milliseconds; a slow disk's, seconds
_NO_SPACE_BYTES: Final = (
    256 << 10
)  # below it SQLite's shared memory and log cannot be made, which it calls an I/O error
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """One connection to `manifest.db` in `folder`, made if need be. Not for sharing between threads.

    Raises:
        StateError: the folder or the file cannot be used, is damaged, or is a newer version's, which is not touched.
        OutputError: there is no space.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "manifest.db"
        with contextlib.ExitStack() as opened:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                opened.enter_context(in_use(folder))
                self._require_no_repair()
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            except OSError as error:
                raise _unusable(folder, error) from error
            with self.explained():
                self.connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            opened.callback(self.connection.close)
            self.connection.row_factory = sqlite3.Row
            with self.explained():
                require_known(self.connection, str(self.path))
                self._use_wal()
                for pragma in ("synchronous = FULL", "foreign_keys = ON"):
                    self.connection.execute(f"PRAGMA {pragma}")
                migrate(self.connection, str(self.path))
            self._opened = opened.pop_all()

    def _require_no_repair(self) -> None:
        if (self.folder / REPLACEMENT).exists():
            raise StateError(
                f"A repair of the manifest in {self.folder} was cut off before its end",
                hint=f"let it go on: `{REPAIR}`",
            )

    def _use_wal(self) -> None:
        """SQLite's busy timeout does not cover the change of journal that the first of several processes makes."""
        until_s = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                    raise
                time.sleep(_BUSY_PAUSE_S)
            else:
                return

    def close(self) -> None:
        """Close the file. What was committed stays."""
        self._opened.close()

    def check(self) -> None:
        """Read the whole file and make sure that it is sound, its indices included.

        Raises:
            StateError: it is damaged.
        """
        with self.explained():
            answer = self.connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if answer != "ok":
            raise damaged(self.path, " ".join(str(answer).split()))

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise told(error, self.path) from error
        except UnicodeDecodeError as error:  # of SQLite's own message, when it quotes a damaged schema
            raise damaged(self.path, "its description of itself is no text") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and on disk when it ends."""
        with self.explained():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise


def damaged(path: Path, what: str) -> StateError:
    """The error for a manifest that is not what was written."""
    return StateError(
        f"The manifest {path} is damaged: {what}",
        hint=f"`{REPAIR}` saves what can be read, and keeps the damaged file; nothing on the service is lost",
    )


def told(error: sqlite3.Error, path: Path) -> SpeechStreamError:
    """The error of our tree for one of SQLite's at `path` (result codes: sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path.parent)):
        return _no_space(path)
    if code in _DAMAGED:
        return damaged(path, str(error))
    said = f"The manifest {path} cannot be used: {error}"
    match code:
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            hint = f"make {path.parent} writable, or choose another folder with SPEECHSTREAM_STATE_DIR"
        case sqlite3.SQLITE_IOERR:
            hint = f"look at the disk of {path.parent} and at its quota; on a failing one, copy the folder to another"
        case sqlite3.SQLITE_BUSY:
            hint = "another speechstream has been writing to it for too long; when it has ended, try again"
        case _:
            hint = "run `speechstream doctor`"
    return StateError(said, hint=f"{hint}; what was committed is kept")


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NO_SPACE_BYTES
    except OSError:
        return False


def _no_space(path: Path) -> OutputError:
    return OutputError(
        f"There is no space left for the manifest {path}",
        hint="nothing is lost; free some space there, then `speechstream resume`",
    )


def _unusable(folder: Path, error: OSError) -> SpeechStreamError:
    if error.errno in _FULL:
        return _no_space(folder / "manifest.db")
    return StateError(
        f"The state folder {folder} cannot be used: {error.strerror or error}",
        hint="make it writable, or choose another with SPEECHSTREAM_STATE_DIR",
    )
