"""The tus clients that nobody here wrote, and what each goes through with our service.

Data alone: `test_clients.py` runs every cell, and `matrix.py` writes the page from the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB: Final = 1 << 20
UPLOAD_BYTES: Final = 3_000_001  # enough to be cut in the middle, little enough for a busy machine
CUT_AFTER_BYTES: Final = 700_000  # in the first third, on whichever connection comes so far
IN_FLIGHT_BYTES: Final = MIB


class Circumstance(Enum):
    """What happens during an upload; the value says it for people."""

    CLEAN = "a good link"
    CUT = "the connection is reset in an append"
    LOST_ANSWER = "the answer to an append is lost"
    SERVICE_KILLED = "the service is killed half way and comes back"
    ABORTED = "the upload is aborted half way and taken up again"
    KILLED = "the client is killed half way and run again"


_ALL: Final = frozenset(Circumstance)
_NO_STORAGE: Final = frozenset(
    {Circumstance.CLEAN, Circumstance.CUT, Circumstance.LOST_ANSWER, Circumstance.SERVICE_KILLED}
)
_NO_ABORT: Final = _NO_STORAGE | {Circumstance.KILLED}
_CLEAN: Final = frozenset({Circumstance.CLEAN})


@dataclass(frozen=True, slots=True)
class Client:
    """One client in one of the ways it can be used.

    Attributes:
        id: one word, for tests.
        name: what it is called, with its version and where it is from.
        usage: how it is used, for people.
        command: the script of peers/; `{url}`, `{file}`, `{key}` and `{storage}` are filled in.
        goes_through: what it can live through at all; not every client keeps URLs for another run.
        beside: whether it is given the creation URL with a trailing slash.
        append_bytes: the most that it sends again after a break: what was in flight, or a chunk that must arrive whole.
    """

    id: str
    name: str
    usage: str
    command: tuple[str, ...]
    goes_through: frozenset[Circumstance]
    beside: bool = False
    append_bytes: int = IN_FLIGHT_BYTES


def _tus_js(id_: str, usage: str, goes_through: frozenset[Circumstance], **options: object) -> Client:
    command = ("tus-js-upload.mjs", "{url}", "{file}", "{key}", json.dumps(options), "{storage}")
    return Client(f"tus-js-client-{id_}", "tus-js-client 4.3.1 (npm)", usage, command, goes_through)


def _tuspy(
    id_: str, usage: str, goes_through: frozenset[Circumstance], *options: str, append_bytes: int = IN_FLIGHT_BYTES
) -> Client:
    command = ("tuspy_upload.py", "{url}", "{file}", "{key}", "--url-storage", "{storage}", *options)
    return Client(f"tuspy-{id_}", "tuspy 1.1.0 (PyPI)", usage, command, goes_through, append_bytes=append_bytes)


def _aiotus(id_: str, usage: str, *options: str) -> Client:
    command = ("aiotus_upload.py", "{url}", "{file}", "{key}", *options)
    return Client(f"aiotus-{id_}", "aiotus 1.1.0 (PyPI)", usage, command, _NO_STORAGE, beside=True)


CLIENTS: Final = (
    _tus_js("plain", "as it is", _ALL),
    _tus_js("chunks", "`chunkSize` 256 KiB", _NO_STORAGE, chunkSize=MIB // 4),
    _tus_js("parallel", "`parallelUploads` 3", _ALL, parallelUploads=3),
    _tus_js("creation", "`uploadDataDuringCreation`", _CLEAN, uploadDataDuringCreation=True),
    _tus_js("deferred", "`uploadLengthDeferred`", _CLEAN, uploadLengthDeferred=True, chunkSize=MIB // 4),
    _tus_js("override", "`overridePatchMethod`", _CLEAN, overridePatchMethod=True),
    _tuspy("plain", "as it is, without metadata (an empty header)", _NO_ABORT),
    _tuspy("sha1", "`upload_checksum`", _NO_ABORT, "--sha1", append_bytes=2 * MIB),
    _tuspy("metadata", "with a file name that is not ASCII", _CLEAN, "--filename", "Gespräch, Teil 1.mp4"),
    _tuspy("whole", "all in one request", _NO_STORAGE, "--chunk", "10000000"),
    _aiotus("plain", "`upload`"),
    _aiotus("concat", "`upload_multiple`, three parts", "--parts", "3"),
)
QUIRKS: Final = {
    "tus-js-client 4.3.1 (npm)": (
        "any 4xx to a HEAD but 423 makes it begin anew",
        "a source that is visibly a file never tells its end when the length is deferred",
    ),
    "tuspy 1.1.0 (PyPI)": ("sends an empty `Upload-Metadata` where there is none", "keeps no URL unless told to"),
    "aiotus 1.1.0 (PyPI)": (
        "cannot follow a Location that begins with `/`: it needs our creation URL with a slash at its end",
        "keeps no URL for another run",
    ),
}


def cells() -> Iterator[tuple[Client, Circumstance]]:
    """Every client in everything that it can live through."""
    for client in CLIENTS:
        for circumstance in Circumstance:
            if circumstance in client.goes_through:
                yield client, circumstance
