"""The documented upload: one multipart body with the recording in its field ``file``."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio import to_thread
from msgspec import Struct, field
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .body import Body
from .headers import bad
from .jobs import Accepted, Jobs, new_job_id
from .store import Job
from .writing import too_long, write_all

_FIELD = b"file"
_OTHER_FIELDS_BYTES = 1 << 20  # what the documented call does not know is dropped, within reason
_OVERHEAD_BYTES = 2 << 20  # those fields, boundaries and part headers around the recording
_PART_HEAD_BYTES = 16 << 10  # a file name of 1024 characters, each encoded
_UNNAMED = "recording"
_NAME_MAX = 1024  # characters


class _Form(Struct):
    """What a multipart parser reports, written to a file as it comes."""

    file: int
    size: int = 0
    filename: str | None = None
    ended: bool = False
    _dropped: int = 0
    _taking: bool = False
    _name: bytes = b""
    _value: bytes = b""
    _head_bytes: int = 0
    _headers: dict[bytes, bytes] = field(default_factory=dict)

    def on_part_begin(self) -> None:
        self._headers = {}
        self._head_bytes = 0
        self._taking = False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._grow(end - start)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._grow(end - start)

    def _grow(self, by: int) -> None:
        self._head_bytes += by
        if self._head_bytes > _PART_HEAD_BYTES:
            raise bad("a part of the multipart body has too long a head")

    def on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or options.get(b"name") != _FIELD:
            return
        if self.filename is not None:
            raise bad("there are two fields named file")
        self._taking = True
        self.filename = options.get(b"filename", b"").decode("utf-8", "replace")[:_NAME_MAX] or _UNNAMED

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._taking:
            write_all(self.file, [data[start:end]], self.size, None)
            self.size += end - start
            return
        self._dropped += end - start
        if self._dropped > _OTHER_FIELDS_BYTES:
            raise too_long(_OTHER_FIELDS_BYTES)

    def on_end(self) -> None:
        self.ended = True


def _parser(content_type: str, form: _Form) -> MultipartParser:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise bad("the body is not multipart/form-data")
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        )
    except FormParserError as error:
        raise bad("the boundary of the multipart body is malformed") from error


@contextmanager
def _incoming(folder: Path) -> Iterator[tuple[Path, int]]:
    """A file for bytes that may yet come to nothing; its lock tells the sweeper that somebody writes it."""
    path = folder / secrets.token_hex(16)
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path, file
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


class Single:
    """Takes documented uploads."""

    def __init__(self, incoming: Path, jobs: Jobs, max_bytes: int) -> None:
        self._incoming = incoming
        self._jobs = jobs
        self._max_bytes = max_bytes

    async def __call__(self, account: str, content_type: str, body: Body, key: str | None) -> Accepted:
        """Stream a multipart body to the disk and make a job of its field ``file``.

        Raises:
            Refusal: 400 when the body is malformed or lacks the field, 408 when it does not arrive whole, 413 when it
                is too long, 422 when the key stands for another recording, 507 when the disk is full.
        """
        known = None if key is None else await to_thread.run_sync(self._jobs.store.job_of_key, account, key)
        if known is not None and known.upload is None:
            return Accepted(known, replayed=True)
        if body.length is not None and body.length > self._max_bytes + _OVERHEAD_BYTES:
            raise too_long(self._max_bytes)
        with _incoming(self._incoming) as (path, file):
            form = _Form(file)
            await self._receive(form, _parser(content_type, form), body)
            job = Job(
                id=new_job_id(),
                account=account,
                upload=None,
                filename=form.filename or _UNNAMED,
                size=form.size,
            )
            await to_thread.run_sync(_keep, file, path, self._jobs.path(job.id))
            return await self._jobs.accept(job, key)

    async def _receive(self, form: _Form, parser: MultipartParser, body: Body) -> None:
        arrived = 0
        try:
            async for chunks in body.pieces():
                arrived += await to_thread.run_sync(_parse, parser, chunks)
                if form.size > self._max_bytes or arrived > self._max_bytes + _OVERHEAD_BYTES:
                    raise too_long(self._max_bytes)
        except FormParserError as error:
            raise bad("the multipart body is malformed") from error
        body.require_whole({})
        if not form.ended:
            raise bad("the multipart body ends before its last boundary")
        if form.filename is None:
            raise bad("the multipart body has no field named file")


def _parse(parser: MultipartParser, chunks: list[bytes]) -> int:
    return sum(parser.write(chunk) for chunk in chunks)


def _keep(file: int, path: Path, target: Path) -> None:
    os.fsync(file)
    path.rename(target)
