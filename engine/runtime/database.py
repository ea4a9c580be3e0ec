"""The manifest's file: opened with the care it deserves, every change one transaction, every error explained."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from ..errors import OutputError, StateError
from .schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_PAUSE_S: Final = 0.02
BUSY_TIMEOUT_S: Final = 30.0  # another process's commit lasts milliseconds; a slow disk's, seconds


class Database:
    """One connection to `manifest.db` in `folder`, made if need be. Not for sharing between threads.

    Raises:
        StateError: the folder or the file cannot be used, or is a newer version's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "manifest.db"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StateError(
                f"The state folder {folder} cannot be used: {error.strerror or error}",
                hint="choose another with SPEECHSTREAM_STATE_DIR, or make it writable",
            ) from error
        with self.explained():
            self.connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        try:
            self.connection.row_factory = sqlite3.Row
            with self.explained():
                self._use_wal()
                for pragma in ("synchronous = FULL", "foreign_keys = ON"):
                    self.connection.execute(f"PRAGMA {pragma}")
                migrate(self.connection, str(self.path))
        except BaseException:
            self.connection.close()
            raise

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
        self.connection.close()

    def check(self) -> None:
        """Read the whole file and make sure that it is sound.

        Raises:
            StateError: it is damaged.
        """
        with self.explained():
            answer = self.connection.execute("PRAGMA quick_check").fetchone()[0]
        if answer != "ok":
            raise StateError(
                f"The manifest {self.path} is damaged: {answer}",
                hint=self._way_out,
            )

    @property
    def _way_out(self) -> str:
        return f"move {self.folder} aside and run the same commands again; nothing on the service is lost"

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
                raise OutputError(
                    f"There is no space left for the manifest {self.path}",
                    hint="free some space there, then `speechstream resume`",
                ) from error
            damaged = getattr(error, "sqlite_errorname", "") in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
            raise StateError(
                f"The manifest {self.path} cannot be used: {error}",
                hint=self._way_out if damaged else "look at the folder's permissions and its disk, then try again",
            ) from error

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
