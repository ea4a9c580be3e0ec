"""A model of tus against the real service: any order of calls, one truth about offsets and bytes."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

SMALL = st.binary(max_size=40)


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


class TusMachine(RuleBasedStateMachine):
    """Creates, appends to, joins and terminates uploads, rightly and wrongly."""

    service: "Service"
    uploads = Bundle("uploads")
    lanes = Bundle("lanes")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Known] = []
        self.finals: list[Final] = []

    def make(self, length: int | None, *, partial: bool) -> Known:
        """A new upload, at the server and in the model."""
        headers = {"Upload-Concat": "partial"} if partial else {}
        upload = Known(self.service.create(length, headers), length, partial)
        self.known.append(upload)
        return upload

    @rule(target=uploads, length=st.none() | st.integers(0, 60))
    def create(self, length: int | None) -> Known:
        """A plain upload."""
        return self.make(length, partial=False)

    @rule(target=lanes, length=st.none() | st.integers(0, 60))
    def create_lane(self, length: int | None) -> Known:
        """A partial upload."""
        return self.make(length, partial=True)

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

    @rule(upload=consumes(uploads))
    def terminate(self, upload: Known) -> None:
        """An end."""
        reply = self.service.http.delete(upload.path, headers=self.service.tus)
        assert reply.status_code == (410 if upload.gone else 204)
        upload.gone = True

    @rule(lanes=st.lists(lanes, min_size=1, max_size=4))
    def join(self, lanes: list[Known]) -> None:
        """A final upload of lanes that may still grow."""
        urls = " ".join(lane.path for lane in lanes)
        if len({lane.path for lane in lanes}) < len(lanes):
            headers = self.service.tus | {"Upload-Concat": f"final;{urls}"}
            assert self.service.http.post("/v1/uploads", headers=headers).status_code == 400
            return
        self.finals.append(Final(self.service.create(None, {"Upload-Concat": f"final;{urls}"}), lanes))

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
        """A final has an offset exactly when all of its lanes are complete."""
        for final in self.finals[-3:]:
            head = self.service.head(final.path)
            if all(lane.complete for lane in final.lanes):
                length = str(sum(len(lane.data) for lane in final.lanes))
                assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == length
            else:
                assert "Upload-Offset" not in head.headers


def test_any_order_of_calls_leaves_the_truth(service: "Service") -> None:
    """Whatever clients do, offsets, lengths and bytes are those of the model."""
    machine = type("Machine", (TusMachine,), {"service": service})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
