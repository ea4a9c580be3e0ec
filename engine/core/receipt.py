"""The paper that says which bytes were sent: what a receipt holds, how it is written, and whether one is whole.

A receipt outlives the job, the service and this machine's state folder. It holds digests of parts, so that a damaged
copy is told from a sound one, and where it is damaged; and a digest of itself, so that a damaged receipt is told, too.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct
from msgspec.structs import asdict

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = "speechstream-receipt"
FORMAT_VERSION: Final = 1
CONTENT_ALGORITHM: Final = "xxh3-128-parts"
SELF_ALGORITHM: Final = "sha256"
DIGEST_BYTES: Final = 16  # xxh3-128


class Content(Struct, frozen=True):
    """The bytes of one file, as a receipt tells them: sizes in bytes, digests raw."""

    filename: str
    size_bytes: int
    part_size_bytes: int
    digest: bytes
    parts: tuple[bytes, ...]


class Times(Struct, frozen=True):
    """When, in epoch seconds; None where it has not happened or is not known."""

    made_at: float
    uploaded_at: float | None
    completed_at: float | None
    written_at: float


class WrittenReceipt(Struct, frozen=True):
    """What was sent where, when, and as which bytes.

    `artifact` is what travelled, `recording` what it was made from: the same for `as-is`, and None where the recording
    had changed or gone before its parts were hashed.
    """

    job_id: str
    kind: str
    state: str
    processing_id: str | None
    endpoint: str
    recipe: str
    proof: str | None
    times: Times
    artifact: Content
    recording: Content | None

    def text(self) -> str:
        """The receipt as a JSON document that holds its own digest, for people to read as well."""
        document = self._document()
        document["self_digest"] = {"algorithm": SELF_ALGORITHM, "value": self_digest(document)}
        return json.dumps(document, indent=1, ensure_ascii=True) + "\n"

    def _document(self) -> dict[str, object]:
        times = {name.removesuffix("_at"): _moment(value) for name, value in asdict(self.times).items()}
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "job_id": self.job_id,
            "kind": self.kind,
            "state": self.state,
            "processing_id": self.processing_id,
            "endpoint": self.endpoint,
            "recipe": self.recipe,
            "proof": self.proof,
            "times": times,
            "artifact": _content_document(self.artifact),
            "recording": None if self.recording is None else _content_document(self.recording),
        }

    @classmethod
    def read(cls, text: str, where: str) -> Self:
        """The receipt in a document.

        Raises:
            UserError: it is no receipt, a newer version's, or damaged.
        """
        document = _checked(text, where)
        try:
            times: dict[str, Any] = {f"{name}_at": _epoch_s(value) for name, value in document["times"].items()}
            recording = document["recording"]
            return cls(
                **{name: document[name] for name in _PLAIN},
                times=Times(**times),
                artifact=_content_of(document["artifact"]),
                recording=None if recording is None else _content_of(recording),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{where} is whole and yet no receipt that can be read: {error!r}") from error


_PLAIN: Final = ("job_id", "kind", "state", "processing_id", "endpoint", "recipe", "proof")


def self_digest(document: Mapping[str, object]) -> str:
    """SHA-256 over the canonical form: JSON in ASCII, members sorted, no blanks, without `self_digest`; in hex."""
    rest = {name: value for name, value in document.items() if name != "self_digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _checked(text: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(
            f"{where} is no receipt, or is damaged beyond reading",
            hint="name a file that `speechstream receipt JOB -o FILE` wrote",
        )
    if document.get("version") != FORMAT_VERSION:
        raise UserError(
            f"The receipt {where} has version {document.get('version')!r}, and this program reads {FORMAT_VERSION}",
            hint="check it with the version of speechstream that wrote it, or a newer one",
        )
    if document.get("self_digest") != {"algorithm": SELF_ALGORITHM, "value": self_digest(document)}:
        raise UserError(
            f"The receipt {where} is damaged: its own digest does not hold",
            hint="take another copy of it, or write it again: `speechstream receipt JOB`",
        )
    return document


def _content_document(content: Content) -> dict[str, object]:
    return {
        "filename": content.filename.encode("utf-8", "backslashreplace").decode(),
        "size": content.size_bytes,
        "part_size": content.part_size_bytes,
        "digest": {"algorithm": CONTENT_ALGORITHM, "value": content.digest.hex()},
        "parts": [part.hex() for part in content.parts],
    }


def _content_of(document: dict[str, Any]) -> Content:
    parts = tuple(bytes.fromhex(part) for part in document["parts"])
    size_bytes, part_size_bytes = int(document["size"]), int(document["part_size"])
    if document["digest"]["algorithm"] != CONTENT_ALGORITHM or part_size_bytes < 1 or size_bytes < 0:
        raise ValueError("unknown digests or impossible sizes")
    if len(parts) != -(-size_bytes // part_size_bytes) or {len(part) for part in parts} - {DIGEST_BYTES}:
        raise ValueError("the parts are not those of the size")
    digest = bytes.fromhex(document["digest"]["value"])
    return Content(document["filename"], size_bytes, part_size_bytes, digest, parts)


def _moment(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")


def _epoch_s(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
