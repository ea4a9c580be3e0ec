"""Who may call: API keys and the accounts they stand for."""

import hashlib
import hmac
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from msgspec import Struct

from .errors import SetupError

_LINE = re.compile(r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*):)?(?P<key>[!-9;-~]+)")
_LOCAL_ACCOUNT = "local"  # the same whichever key a run generates, so that its jobs outlive the run
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=32).digest()


class Keyring(Struct, frozen=True):
    """Hashes of the API keys and the account of each; the keys themselves are not kept."""

    entries: tuple[tuple[bytes, str], ...]

    @classmethod
    def parse(cls, lines: Iterable[str], *, source: str) -> Self:
        """Read ``KEY`` or ``NAME:KEY`` lines; a nameless key's account is a short hash of the key.

        Blank lines and lines that start with ``#`` are skipped. Keys are printable ASCII without
        blanks and colons.

        Raises:
            SetupError: A line is neither, or there is no key at all. Never repeats a line's text.
        """
        entries: list[tuple[bytes, str]] = []
        for number, raw in enumerate(lines, start=1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise SetupError(f"line {number} of {source} is neither KEY nor NAME:KEY")
            digest = _digest(match["key"])
            entries.append((digest, match["name"] or digest.hex()[:16]))
        if not entries:
            raise SetupError(f"{source} holds no API key")
        return cls(tuple(entries))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a key file that only its owner can read.

        Raises:
            SetupError: It cannot be read, others may read it, or ``parse`` refuses its lines.
        """
        try:
            with path.open(encoding="utf-8") as lines:
                if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
                    raise SetupError(f"{path} can be read by others than its owner; run: chmod 600 {path}")
                return cls.parse(lines, source=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"cannot read the key file {path}: {error}") from error

    @classmethod
    def generate(cls) -> tuple[Self, str]:
        """Make one key for the account ``local``; the key is returned once and not kept."""
        key = secrets.token_urlsafe(24)
        return cls(((_digest(key), _LOCAL_ACCOUNT),)), key

    def __add__(self, other: "Keyring") -> "Keyring":
        return Keyring(self.entries + other.entries)

    def account(self, key: str) -> str | None:
        """Tell whose key this is, in a time that does not depend on the key."""
        digest = _digest(key)
        found = None
        for known, account in self.entries:
            if hmac.compare_digest(known, digest):
                found = account
        return found
