"""A model of tus against the real service: any order of calls, kills and expiries leaves one truth."""

import asyncio
import hashlib
import os
import signal
import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.devserver.config import Config
from engine.devserver.folder import Folder
from engine.devserver.store import Store
from engine.devserver.sweep import drop_expired
from engine.devserver.uploads import Uploads

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

SMALL = st.binary(max_size=40)
LENGTHS = st.none() | st.integers(0, 60)
OTHER = {"Authorization": "Bearer the-other-key"}
# By hand, deeper: SPEECHSTREAM_MODEL_EXAMPLES=500 pytest tests/devserver/test_tus_model.py
DRAWN = 15 if os.environ.get("SPEECHSTREAM_FULL") else 6
EXAMPLES = int(os.environ.get("SPEECHSTREAM_MODEL_EXAMPLES", DRAWN))
KILLS_A_RUN = 1  # each costs a start


@dataclass
class Known:
    """What must be true of one upload."""

    path: str
    length: int | None
    partial: bool = False
    data: bytes = b""
    gone: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return len(self.data) == self.length


@dataclass
class Final:
    """What must be true of a concatenation: a snapshot of lanes that may still grow."""

    path: str
    lanes: list[Known]
    gone: bool = False
    job: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing from any lane."""
        return all(lane.complete for lane in self.lanes)

    @property
    def lost(self) -> bool:
        """Whether it can never be complete, or is gone itself."""
        return self.gone or any(lane.gone and not lane.complete for lane in self.lanes)

    @property
    def data(self) -> bytes:
        """Its bytes so far."""
        return b"".join(lane.data for lane in self.lanes)


class TusMachine(RuleBasedStateMachine):
    """Creates, appends to, joins, submits, terminates, expires and kills, rightly and wrongly."""

    service: "Service"
    submission: Callable[..., dict[str, object]]
    uploads = Bundle("uploads")
    lanes = Bundle("lanes")
    finals = Bundle("finals")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Known] = []
        self.joined: list[Final] = []
        self.kills = 0

    def make(self, length: int | None, *, partial: bool) -> Known:
        """A new upload, at the server and in the model."""
        headers = {"Upload-Concat": "partial"} if partial else {}
        upload = Known(self.service.create(length, headers), length, partial)
        self.known.append(upload)
        return upload

    @rule(target=uploads, length=LENGTHS)
    def create(self, length: int | None) -> Known:
        """A plain upload."""
        return self.make(length, partial=False)

    @rule(target=lanes, length=LENGTHS)
    def create_lane(self, length: int | None) -> Known:
        """A partial upload."""
        return self.make(length, partial=True)

    @rule(target=lanes, data=SMALL)
    def create_whole_lane(self, data: bytes) -> Known:
        """A partial upload that is complete at once."""
        lane = self.make(len(data), partial=True)
        self.append(lane, data)
        return lane

    @rule(target=lanes, length=LENGTHS, data=SMALL)
    def create_with_first_bytes(self, length: int | None, data: bytes) -> Known:
        """A creation that brings bytes: all of it or nothing of it is made."""
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        headers = self.service.chunk | size | {"Upload-Concat": "partial"}
        reply = self.service.http.post("/v1/uploads", headers=headers, content=data)
        if length is not None and len(data) > length:
            assert reply.status_code == 413
            return self.make(length, partial=True)
        assert reply.status_code == 201
        lane = Known(reply.headers["Location"], length, partial=True, data=data)
        self.known.append(lane)
        return lane

    @rule(lane=uploads | lanes, key=st.sampled_from("abc"))
    def create_twice(self, lane: Known, key: str) -> None:
        """Under one key, a creation makes one upload."""
        headers = {"Idempotency-Key": f"{key}-of-{lane.path.rpartition('/')[2]}"}
        assert self.service.create(5, headers) == self.service.create(5, headers)

    def expect(self, upload: Known, offset: int, data: bytes, reply: httpx.Response) -> None:
        """Judge the answer to an append and follow it in the model."""
        if upload.gone:
            assert reply.status_code == 410
        elif offset != len(upload.data):
            assert reply.status_code == 409
            assert int(reply.headers["Upload-Offset"]) == len(upload.data)
        elif upload.length is not None and offset + len(data) > upload.length:
            assert reply.status_code == 413
        else:
            upload.data += data
            assert reply.status_code == 204
            assert int(reply.headers["Upload-Offset"]) == len(upload.data)

    @rule(upload=uploads | lanes, data=SMALL)
    def append(self, upload: Known, data: bytes) -> None:
        """The next bytes."""
        offset = len(upload.data)
        self.expect(upload, offset, data, self.service.patch(upload.path, offset, data))

    @rule(upload=uploads | lanes, data=SMALL, offset=st.integers(0, 60))
    def append_anywhere(self, upload: Known, data: bytes, offset: int) -> None:
        """Bytes at an offset that may be wrong."""
        self.expect(upload, offset, data, self.service.patch(upload.path, offset, data))

    @rule(upload=uploads | lanes, data=SMALL, right=st.booleans())
    def append_proved(self, upload: Known, data: bytes, *, right: bool) -> None:
        """Bytes with a checksum that may be wrong."""
        digest = hashlib.sha1(data if right else data + b"x").digest()
        headers = {"Upload-Checksum": f"sha1 {b64encode(digest).decode()}"}
        offset = len(upload.data)
        reply = self.service.patch(upload.path, offset, data, **headers)
        fits = upload.length is None or offset + len(data) <= upload.length
        if right or upload.gone or not fits:
            self.expect(upload, offset, data, reply)
        else:
            assert reply.status_code == 460

    @rule(upload=uploads | lanes, data=st.binary(min_size=1, max_size=20), how=st.sampled_from(["HEAD", "PATCH"]))
    def append_while_another_hangs(self, upload: Known, data: bytes, how: str) -> None:
        """A request takes over from one that hangs, whose bytes count and who is told so."""
        room = 60 if upload.length is None else upload.length - len(upload.data)
        if upload.gone or len(data) >= room:
            return
        with self.service.half_sent(upload.path, len(upload.data), room, data) as line:
            offset = len(upload.data) + len(data)
            self.service.wait_for(lambda: self.service.offset_unasked(upload.path) == offset)
            upload.data += data
            if how == "HEAD":
                assert self.service.offset(upload.path) == offset
            else:
                self.append(upload, b"")
            assert line.recv(65536).startswith(b"HTTP/1.1 423")

    @rule(upload=uploads | lanes, length=st.integers(0, 80))
    def settle_length(self, upload: Known, length: int) -> None:
        """A length that comes later, or again."""
        reply = self.service.patch(upload.path, len(upload.data), b"", **{"Upload-Length": str(length)})
        if upload.gone:
            assert reply.status_code == 410
        elif upload.length not in {None, length} or length < len(upload.data):
            assert reply.status_code == 400
        else:
            assert reply.status_code == 204
            upload.length = length

    @rule(upload=consumes(uploads) | lanes)
    def terminate(self, upload: Known) -> None:
        """An end."""
        reply = self.service.http.delete(upload.path, headers=self.service.tus)
        assert reply.status_code == (410 if upload.gone else 204)
        upload.gone = True

    @rule(upload=uploads | lanes | finals)
    def expire(self, upload: Known | Final) -> None:
        """A month goes by for one upload, and somebody sweeps."""
        name = self.service.file(upload.path).name
        with closing(sqlite3.connect(self.service.data / "state.db", timeout=30)) as database, database:
            database.execute("UPDATE uploads SET touched_at = 0 WHERE name = ?", (name,))
        sweep(self.service.data)
        upload.gone = True

    @rule(target=finals, lanes=st.lists(lanes, min_size=1, max_size=4))
    def join(self, lanes: list[Known]) -> Final:
        """A final upload of lanes that may still grow; what cannot be joined is named."""
        wrong = [
            position
            for position, lane in enumerate(lanes)
            if lane.gone or lane.path in {earlier.path for earlier in lanes[:position]}
        ]
        if wrong:
            reply = self.asked_to_join(lanes)
            assert (reply.status_code, reply.json()["bad_partials"]) == (400, wrong)
            lanes = [self.make(0, partial=True)]
        reply = self.asked_to_join(lanes)
        assert reply.status_code == 201
        final = Final(reply.headers["Location"], lanes)
        self.joined.append(final)
        return final

    def asked_to_join(self, lanes: list[Known]) -> httpx.Response:
        """The answer to a request for a final upload."""
        concat = f"final;{' '.join(lane.path for lane in lanes)}"
        return self.service.http.post("/v1/uploads", headers=self.service.tus | {"Upload-Concat": concat})

    @rule(final=finals, right=st.booleans())
    def submit(self, final: Final, *, right: bool) -> None:
        """A job is made once, of all the bytes in their order, or not at all."""
        data = final.data if right else final.data + b"x"
        reply = self.service.submit(self.submission(final.path, data))
        if final.job is not None:
            assert reply.json() == {"processing_id": final.job}
        elif final.lost:
            assert reply.status_code == 410
        elif not final.complete:
            assert reply.status_code == 409
        elif not right:
            assert (reply.status_code, reply.json()["code"]) == (422, "size_mismatch")
        else:
            assert reply.status_code == 200
            final.job = reply.json()["processing_id"]
            assert self.service.recording(final.job) == data

    @rule(upload=uploads | lanes | finals)
    def meddle(self, upload: Known | Final) -> None:
        """Another account gets nothing out of an upload and does nothing to it."""
        http, tus = self.service.http, self.service.tus
        patched = http.patch(upload.path, headers=self.service.chunk | OTHER | {"Upload-Offset": "0"}, content=b"x")
        replies = [http.head(upload.path, headers=tus | OTHER), http.delete(upload.path, headers=tus | OTHER), patched]
        assert [reply.status_code for reply in replies] == [404, 404, 404]
        joined = http.post("/v1/uploads", headers=tus | OTHER | {"Upload-Concat": f"final;{upload.path}"})
        assert joined.status_code == 400

    @precondition(lambda self: self.kills < KILLS_A_RUN)
    @rule(upload=uploads | lanes, data=st.binary(max_size=30))
    def kill(self, upload: Known, data: bytes) -> None:
        """The server dies under a PATCH: what is there afterwards is a beginning of what was sent."""
        self.kills += 1
        room = 90 if upload.length is None else upload.length - len(upload.data)
        hanging = not upload.gone and len(data) < room
        if hanging:
            with self.service.half_sent(upload.path, len(upload.data), room, data):
                time.sleep(0.02)
                self.service.end(signal.SIGKILL)
        else:
            self.service.end(signal.SIGKILL)
        self.service.start()
        if hanging:
            offset = self.service.offset(upload.path)
            assert len(upload.data) <= offset <= len(upload.data) + len(data)
            upload.data = (upload.data + data)[:offset]

    @invariant()
    def offsets_are_true(self) -> None:
        """HEAD and the disk agree with the model about every upload."""
        for upload in self.known[-6:]:
            head = self.service.head(upload.path)
            if upload.gone:
                assert head.status_code == 410
                continue
            assert int(head.headers["Upload-Offset"]) == len(upload.data)
            assert head.headers.get("Upload-Length") == (None if upload.length is None else str(upload.length))
            assert self.service.file(upload.path).read_bytes() == upload.data

    @invariant()
    def finals_follow_their_lanes(self) -> None:
        """A final has an offset exactly when all of its lanes are complete, and is gone when one can never be."""
        for final in self.joined[-3:]:
            head = self.service.head(final.path)
            if final.lost:
                assert head.status_code == 410
            elif final.complete:
                assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == str(len(final.data))
            else:
                assert "Upload-Offset" not in head.headers


def sweep(data: Path) -> None:
    """What the service does every minute, done now and by another process's hand."""
    folder = Folder(data)
    store = Store(folder.database)
    try:
        asyncio.run(drop_expired(Config(data=data), store, Uploads(folder.uploads, store), time.time()))
    finally:
        store.close()


@pytest.mark.timeout(120 + 10 * EXAMPLES)
def test_any_order_of_calls_leaves_the_truth(
    start: "Callable[..., Service]", tmp_path: Path, submission: Callable[..., dict[str, object]]
) -> None:
    """Whatever clients do and whenever the server dies, offsets, lengths and bytes are those of the model."""
    key_file = tmp_path / "keys"
    key_file.write_text("other:the-other-key\n")
    key_file.chmod(0o600)
    many = ("--uploads-per-minute", "1000000", "--upload-files", "1000000")
    service = start("--no-transcriber", "--key-file", str(key_file), *many)
    machine = type("Machine", (TusMachine,), {"service": service, "submission": staticmethod(submission)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            derandomize=EXAMPLES == DRAWN,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
