"""Where the service keeps what: the folders under its data folder.

DIR/
├── state.db        SQLite: uploads, jobs, idempotency keys
├── uploads/        one file an upload, named by a hash of its id
├── incoming/       bodies of documented uploads that still arrive
├── recordings/     what a job received, named by its processing_id
└── transcriber.lock  held by the one process that transcribes
"""

import os
from pathlib import Path

from msgspec import Struct

from .errors import SetupError

_PRIVATE = 0o700


class Folder(Struct, frozen=True):
    """The data folder of one service."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "state.db"

    @property
    def uploads(self) -> Path:
        """Files of uploads."""
        return self.root / "uploads"

    @property
    def incoming(self) -> Path:
        """Files of bodies that still arrive."""
        return self.root / "incoming"

    @property
    def recordings(self) -> Path:
        """Files of jobs."""
        return self.root / "recordings"

    @property
    def transcriber_lock(self) -> Path:
        """File whose lock makes a process the only transcriber."""
        return self.root / "transcriber.lock"

    def make(self) -> None:
        """Create what is missing, for the owner's eyes only.

        Raises:
            SetupError: The folder cannot be made or is somebody else's.
        """
        try:
            for path in (self.root, self.uploads, self.incoming, self.recordings):
                path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
                path.chmod(_PRIVATE)
        except OSError as error:
            raise SetupError(f"cannot use {self.root} as data folder: {error}") from error


def sync_folder(path: Path) -> None:
    """Make names made or removed in ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
