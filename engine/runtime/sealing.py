"""Seals upload URLs before they rest in the manifest.

Whoever has an upload's URL may write to the upload. A manifest travels in backups and bug reports, so the URLs in it
are sealed with a key that lies beside it in a file of its own, mode 0600. This does not protect against someone
who can read the whole folder; nothing that must work unattended could.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from ..errors import StateError
from ..redaction import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.fernet import Fernet

KEY_FILE: Final = "seal.key"
_WAY_OUT: Final = (
    "restore that file from where the manifest came from; without it `speechstream doctor --repair` has the "
    "unfinished uploads begin anew"
)


class Seal:
    """Turns a secret into bytes that tell nothing, and back. The key is made at first use."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / KEY_FILE
        self._making = threading.Lock()

    def prepare(self) -> None:
        """Load the cipher and make the key, which takes 15 ms and waits for the disk; may be done in any thread.

        Raises:
            StateError: the key file cannot be written or read.
        """
        self._cipher(make=True)

    def close(self, secret: Secret) -> bytes:
        """The sealed form.

        Raises:
            StateError: the key file cannot be written or read.
        """
        return self._cipher(make=True).encrypt(secret.reveal().encode())

    def open(self, sealed: bytes) -> Secret:
        """The secret again.

        Raises:
            StateError: the key file is gone, or the sealed bytes are not ours.
        """
        from cryptography.fernet import InvalidToken

        try:
            return Secret(self._cipher().decrypt(sealed).decode())
        except InvalidToken as error:
            raise StateError(
                f"The upload addresses in the manifest cannot be opened with {self._path}",
                hint=_WAY_OUT,
            ) from error

    def _cipher(self, *, make: bool = False) -> Fernet:
        from cryptography.fernet import Fernet  # slow to import, and `jobs` never needs it

        try:
            return Fernet(self._path.read_bytes())
        except FileNotFoundError as error:
            if make:
                with self._making:
                    return Fernet(self._make_key(Fernet.generate_key()))
            raise StateError(
                f"{self._path} is gone, and with it the upload addresses in the manifest",
                hint=_WAY_OUT,
            ) from error
        except (OSError, ValueError) as error:
            raise StateError(f"The sealing key {self._path} cannot be used: {error}", hint=_WAY_OUT) from error

    def _make_key(self, key: bytes) -> bytes:
        """Write the key whole or not at all; of two processes that try, the first to link it wins."""
        draft = self._path.with_suffix(f".{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, self._path)
            except FileExistsError:
                return self._path.read_bytes()
            except OSError:  # a file system without hard links
                draft.replace(self._path)
            finally:
                draft.unlink(missing_ok=True)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # what is sealed must never outlive its key
            finally:
                os.close(folder)
        except OSError as error:
            raise StateError(f"The sealing key {self._path} cannot be written: {error}") from error
        return key
