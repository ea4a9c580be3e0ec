"""The library's client against a service on loopback that follows a script, in time that passes only in sleep."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import itertools
import logging
import os
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.core.plan import PART_SIZE_BYTES
from engine.errors import (
    ConfigError,
    JobFailed,
    KeyRejected,
    RecordingChanged,
    RecordingError,
    ServiceError,
    UploadRefused,
)
from engine.events import Transferred, Uploaded, as_dict
from engine.model import JobKind, JobState, WireName
from engine.progress.sentences import sentence
from engine.runtime.manifest import Manifest
from engine.runtime.ownership import owned
from tests.engine.house import CONTENT, PATCH, SUBMIT, House, refusing
from tests.faults.recording import write_wav
from tests.faults.scripted import TEXT, Asked, Moment, Strike, reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from engine import Client


pytestmark = pytest.mark.anyio


async def test_a_recording_becomes_a_transcript(house: House) -> None:
    """Asked, created, sent, submitted, polled: one job with the recording's bytes, and its text."""
    assert await house.transcribe() == TEXT
    assert list(house.service.jobs.values()) == [CONTENT]
    assert house.warnings() == []


async def test_a_limit_belongs_to_the_job(house: House) -> None:
    """It is committed before the first byte, kept by a resume that says nothing of it, shown, and kept to."""
    house.service.replying = refusing(PATCH)
    async with house.client(limit_bytes_s=20_000) as client:
        with pytest.raises(KeyRejected):
            await client.transcribe(house.recording)
    assert house.job().limit_bytes_s == 20_000
    house.service.replying = lambda _: None
    house.told.clear()
    began_s = house.clock.now_s
    async with house.client() as client:
        await client.upload(house.recording)
    assert house.clock.now_s - began_s == pytest.approx(len(CONTENT) / 20_000, rel=0.1)
    assert {event.limit_bytes_s for event in house.told if isinstance(event, Uploaded)} == {20_000}


async def test_a_limit_from_the_environment(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wins over the file, the timetable included; a job's own wins over both, and off is one."""
    config = tmp_path / "config.toml"
    config.write_text('limit_rate = "1kB/s"\nlimit_timetable = ["00:00-00:00 2kB/s"]\n')
    monkeypatch.setenv("SPEECHSTREAM_CONFIG", str(config))
    monkeypatch.setenv("SPEECHSTREAM_LIMIT_RATE", "40kB/s")
    began_s = house.clock.now_s
    async with house.client() as client:
        await client.upload(house.recording)
    assert house.clock.now_s - began_s == pytest.approx(len(CONTENT) / 40_000, rel=0.1)
    house.recording.write_bytes(CONTENT[::-1])
    began_s = house.clock.now_s
    async with house.client(limit_bytes_s=0) as client:
        await client.upload(house.recording)
    assert house.clock.now_s - began_s < 1


async def test_a_timetable_in_the_file(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it speaks, it wins over the usual limit."""
    config = tmp_path / "config.toml"
    config.write_text('limit_rate = "1kB/s"\nlimit_timetable = ["00:00-00:00 20kB/s"]\n')
    monkeypatch.setenv("SPEECHSTREAM_CONFIG", str(config))
    began_s = house.clock.now_s
    async with house.client() as client:
        await client.upload(house.recording)
    assert house.clock.now_s - began_s == pytest.approx(len(CONTENT) / 20_000, rel=0.1)


async def test_events_tell_the_whole_way(house: House) -> None:
    """The stream ends with the client, and holds every stage in order."""
    async with house.client() as client, client.events() as events:
        await client.transcribe(house.recording)
        seen: list[str] = []
        with contextlib.suppress(anyio.WouldBlock):
            while True:
                seen.append(type(events.receive_nowait()).__name__)
    order = list(dict.fromkeys(seen))
    assert order == ["Opened", "Decided", "Uploaded", "Transferred", "Submitted", "Completed"]


async def test_the_log_names_every_stage(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """What `-v` shows: where the job is, and what the server offers."""
    with caplog.at_level(logging.INFO, logger="speechstream"):
        await house.transcribe()
    said = [record.getMessage().partition(" next: ")[2] for record in caplog.records if "next: " in record.getMessage()]
    assert said == ["prepare", "upload", "submit", "poll"]
    assert any(record.getMessage().startswith("the server offers") for record in caplog.records)


async def test_what_a_server_no_longer_offers_is_asked_anew(house: House) -> None:
    """A creation that is refused makes the next run ask first, instead of believing what was said before."""
    house.service.replying = refusing("POST /v1/uploads", 404)
    async with house.client() as client:
        with pytest.raises(UploadRefused):
            await client.transcribe(house.recording)
    house.service.replying = lambda _: None
    house.service.requests.clear()

    assert await house.transcribe() == TEXT
    assert house.service.requests[0] == "OPTIONS /v1/uploads"


class TestAsIs:
    @pytest.mark.parametrize("how", ["resume", "repeat"])
    async def test_a_recording_replaced_between_two_runs_is_not_mixed(self, house: House, how: str) -> None:
        """Size and time are those of the old one, the bytes are not: nothing of what was sent is used; it is told."""
        house.service._strike = Strike(3, Moment.MID_BODY)
        job = await house.stopped_by_401("HEAD /v1/uploads/{id}")
        assert any(0 < len(upload.content) < len(CONTENT) for upload in house.service.uploads.values())
        house.replace_recording()
        async with house.client() as client:
            await (client.resume(job.id) if how == "resume" else client.transcribe(house.recording))
        assert list(house.service.jobs.values()) == [house.recording.read_bytes()]
        assert house.job().id == job.id
        assert any("the recording changed since" in warning for warning in house.warnings())

    async def test_one_lane_stays_where_nothing_of_it_changed(self, house: House) -> None:
        """What was acknowledged holds, what comes after it is another: the upload goes on with the bytes of now."""
        house.recording.write_bytes(CONTENT * 50)
        sent = iter(range(100))
        house.service.replying = lambda asked: reply(401) if asked.route == PATCH and next(sent) > 1 else None
        with pytest.raises(KeyRejected):
            await house.transcribe()
        house.service.replying = lambda _: None
        house.service.requests.clear()
        (held,) = [len(upload.content) for upload in house.service.uploads.values()]
        assert PART_SIZE_BYTES < held < len(CONTENT) * 49
        with house.recording.open("r+b") as file:
            file.seek(len(CONTENT) * 49)
            file.write(b"edited")
        assert await house.transcribe() == TEXT
        assert "POST /v1/uploads" not in house.service.requests
        assert list(house.service.jobs.values()) == [house.recording.read_bytes()]

    async def test_one_lane_goes_again_when_an_acknowledged_part_changed(self, house: House) -> None:
        """It cannot be taken back in part: it is made anew, under another key, and the old one is removed."""
        house.recording.write_bytes(CONTENT * 50)
        sent = iter(range(100))
        house.service.replying = lambda asked: reply(401) if asked.route == PATCH and next(sent) > 1 else None
        with pytest.raises(KeyRejected):
            await house.transcribe()
        keys: list[str] = []

        def noting(asked: Asked) -> bytes | None:
            if asked.route == "POST /v1/uploads":
                keys.append(asked.headers["idempotency-key"])
            return reply(204) if asked.method == "DELETE" else None

        house.service.replying = noting
        house.service.requests.clear()
        with house.recording.open("r+b") as file:
            file.write(b"edited")
        assert await house.transcribe() == TEXT
        assert house.service.requests.count("DELETE /v1/uploads/{id}") == 1
        assert keys
        assert not keys[0].endswith('.0.0"')
        assert list(house.service.jobs.values()) == [house.recording.read_bytes()]

    async def test_a_delivery_does_not_keep_half_a_part(self, house: House) -> None:
        """Nobody will compare it: bytes without a digest go again when the recording changed anywhere."""
        house.service._strike = Strike(3, Moment.MID_BODY)
        house.service.replying = refusing("HEAD /v1/uploads/{id}")
        to = f"{house.service.endpoint}/uploads"
        async with house.client() as client:
            with pytest.raises(KeyRejected):
                await client.send(house.recording, to)
        house.service.replying = lambda _: None
        house.replace_recording()
        async with house.client() as client:
            await client.send(house.recording, to)
        assert bytes([*house.service.uploads.values()][-1].content) == house.recording.read_bytes()
        assert house.job().state is JobState.COMPLETED

    async def test_the_documented_call_sends_what_is_there_now(self, house: House) -> None:
        """Nothing was kept of the request that was cut off, and nothing has to be."""
        house.service.replying = refusing("OPTIONS /v1/uploads", 404)
        house.service._strike = Strike(2, Moment.BEFORE)
        unread = house.recording.stat()

        def edit(asked: Asked) -> bytes | None:
            if asked.method == "OPTIONS" and house.recording.stat().st_mtime_ns == unread.st_mtime_ns:
                house.recording.write_bytes(CONTENT + b"more")
            return reply(404) if asked.method == "OPTIONS" else None

        house.service.replying = edit
        assert await house.transcribe() == TEXT
        assert list(house.service.jobs.values()) == [CONTENT + b"more"]

    async def test_a_delivery_replaced_while_it_was_sent_is_not_delivered(self, house: House) -> None:
        """Nobody else compares those bytes: the file is looked at once more after its last one."""

        def replacing(asked: Asked) -> None:
            if asked.route == PATCH:
                house.replace_recording()

        house.service.replying = replacing
        async with house.client() as client:
            with pytest.raises(RecordingChanged):
                await client.send(house.recording, f"{house.service.endpoint}/uploads")
        job = house.job()
        assert (job.kind, job.state) == (JobKind.DELIVERY, JobState.UPLOADING)


def checking(asked: Asked) -> bytes | None:
    """A server with the checksum extension, which looks at every append."""
    if asked.method == "OPTIONS":
        offered = {"Tus-Version": "1.0.0", "Tus-Extension": "creation,checksum", "Tus-Checksum-Algorithm": "sha1"}
        return reply(204, offered)
    if asked.route == PATCH:
        algorithm, _, value = asked.headers["upload-checksum"].partition(" ")
        assert algorithm == "sha1"
        if base64.b64decode(value) != hashlib.sha1(asked.body, usedforsecurity=False).digest():
            return reply(460)
    return None


class TestProof:
    async def proved(self, house: House, run: Callable[[Client], Awaitable[object]]) -> str:
        """What the end line, the result and the record say: always the same."""
        async with house.client() as client:
            result = await run(client)
        (told,) = house.told.of(Transferred)
        assert isinstance(told, Transferred)
        assert told.proof == house.job().proof == getattr(result, "proof", None)
        assert f", {told.proof}; sent again" in (sentence(told) or "")
        assert as_dict(told)["proof"] == told.proof
        assert house.job().uploaded_at is not None
        return told.proof

    async def test_a_submission_by_reference_is_verified(self, house: House) -> None:
        """The service answers it only when its bytes have our digests."""
        assert await self.proved(house, lambda client: client.upload(house.recording)) == "verified by server"

    async def test_the_documented_call_is_not(self, house: House) -> None:
        """It carries no digest; those of the parts are kept all the same, for the receipt."""
        house.service.replying = refusing("OPTIONS /v1/uploads", 404)
        assert await self.proved(house, lambda client: client.transcribe(house.recording)) == "length only"
        with Manifest(house.state) as manifest:
            assert len(manifest.digests(house.job().id)) == 1

    @pytest.mark.parametrize(("checksum", "proof"), [(True, "verified by server"), (False, "length only")])
    async def test_a_delivery_is_as_good_as_its_checksums(self, house: House, checksum: bool, proof: str) -> None:  # noqa: FBT001 - a column
        """With the checksum extension on every append the server has compared all of it."""
        house.service.replying = checking if checksum else lambda _: None
        to = f"{house.service.endpoint}/uploads"
        async with house.client(checksum=checksum) as client:
            assert (await client.send(house.recording, to)).proof == proof
        assert [bytes(upload.content) for upload in house.service.uploads.values()] == [CONTENT]
        assert house.service.requests.count(PATCH) == 1 + checksum  # the first one tries whether it looks

    async def test_a_server_that_only_says_that_it_checks_verifies_nothing(self, house: House) -> None:
        """It advertises checksums and takes a byte with a wrong one: `length only`, and nothing goes twice."""
        house.service.replying = lambda asked: checking(asked) if asked.method == "OPTIONS" else None
        async with house.client(checksum=True) as client:
            delivery = await client.send(house.recording, f"{house.service.endpoint}/uploads")
        assert delivery.proof == "length only"
        assert [bytes(upload.content) for upload in house.service.uploads.values()] == [CONTENT]
        assert house.job().tally.sent_bytes == len(CONTENT)

    async def test_a_server_that_keeps_what_it_calls_damaged_verifies_nothing(self, house: House) -> None:
        """It answers 460 and keeps the bytes: what it has nobody compared."""

        def keeping(asked: Asked) -> bytes | None:
            answer = checking(asked)
            if answer is not None and asked.route == PATCH:
                house.service._append(asked)
            return answer

        house.service.replying = keeping
        async with house.client(checksum=True) as client:
            delivery = await client.send(house.recording, f"{house.service.endpoint}/uploads")
        assert delivery.proof == "length only"
        assert [bytes(upload.content) for upload in house.service.uploads.values()] == [CONTENT]

    @pytest.mark.parametrize("moment", [Moment.LOST, Moment.MID_BODY])
    async def test_bytes_that_only_an_offset_speaks_for_are_not_verified(self, house: House, moment: Moment) -> None:
        """The answer to a checksummed append is lost, and the server has kept some of it: it may have kept anything."""
        house.service.replying = checking
        house.service._strike = Strike(5, moment)  # after OPTIONS, POST, the try, and the HEAD that follows it
        async with house.client(checksum=True) as client:
            delivery = await client.send(house.recording, f"{house.service.endpoint}/uploads")
        assert delivery.proof == "length only"
        assert [bytes(upload.content) for upload in house.service.uploads.values()] == [CONTENT]


class TestDisk:
    async def test_a_disk_that_fails_in_the_middle_costs_nothing(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A read error is told with its place; on a sound disk the same command goes on from what the server has."""
        house.recording.write_bytes(CONTENT * 20)
        reading = os.pread

        def failing(descriptor: int, size_bytes: int, offset: int) -> bytes:
            if offset >= PART_SIZE_BYTES and size_bytes > 1 << 10:
                raise OSError(errno.EIO, "Input/output error")
            return reading(descriptor, size_bytes, offset)

        def nothing_in_memory(*_: object) -> int:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

        def break_disk() -> None:
            monkeypatch.setattr(os, "pread", failing)
            monkeypatch.setattr(os, "preadv", nothing_in_memory)

        house.service.replying = lambda asked: break_disk() if asked.route == PATCH else None
        async with house.client() as client:
            with pytest.raises(
                RecordingError, match=r"talk\.mp4 cannot be read at byte \d+: Input/output error"
            ) as caught:
                await client.transcribe(house.recording)
        assert caught.value.exit_code == 1
        assert "sound disk" in (caught.value.hint or "")
        monkeypatch.undo()
        (held,) = [len(upload.content) for upload in house.service.uploads.values()]
        assert held > 0
        house.service.replying = lambda _: None
        house.service.requests.clear()
        assert await house.transcribe() == TEXT
        assert list(house.service.jobs.values()) == [CONTENT * 20]
        assert "POST /v1/uploads" not in house.service.requests


class TestChoosing:
    async def test_a_bad_key_chooses_nothing(self, house: House) -> None:
        """401 to OPTIONS is about the key: no other request, no wire for the job, and nothing remembered."""
        house.service.replying = refusing("OPTIONS /v1/uploads")
        with pytest.raises(KeyRejected):
            await house.transcribe()
        assert house.service.requests == ["OPTIONS /v1/uploads"]
        assert house.job().wire is None
        house.service.replying = lambda _: None
        assert await house.transcribe() == TEXT
        assert house.job().wire is WireName.TUS
        assert house.service.requests.count("OPTIONS /v1/uploads") == 2

    @pytest.mark.parametrize("status", [403, 404, 405])
    async def test_a_server_without_tus_gets_the_documented_call(self, house: House, status: int) -> None:
        """And is asked again for the next recording: it may have learnt in the meantime."""
        house.service.replying = lambda asked: reply(status) if asked.method == "OPTIONS" else None
        assert await house.transcribe() == TEXT
        assert house.job().wire is WireName.SINGLE
        house.service.replying = lambda _: None
        house.replace_recording()
        house.clock.now_s += 60.0
        assert await house.transcribe() == TEXT
        assert house.service.requests.count(PATCH) == 1
        assert len(house.service.jobs) == 2

    async def test_an_upload_that_has_begun_asks_nothing(self, house: House) -> None:
        """Days later, with an OPTIONS that fails, it goes on with the resource that was made for it."""
        await house.stopped_by_401(PATCH)
        house.service.replying = refusing("OPTIONS /v1/uploads", 404)
        house.clock.now_s += 3 * 86_400.0
        assert await house.transcribe() == TEXT
        assert house.service.requests[:3] == ["HEAD /v1/uploads/{id}", PATCH, SUBMIT]
        assert len(house.service.uploads) == 1


class TestSubmitting:
    async def test_a_server_that_contradicts_itself_is_given_a_moment(self, house: House) -> None:
        """It says complete and incomplete in turn: each time at least a second passes, and the fourth ends it."""
        at_s: list[float] = []

        def incomplete(asked: Asked) -> bytes | None:
            if asked.route != SUBMIT:
                return None
            at_s.append(house.clock.now_s)
            return reply(409, {"Upload-Offset": str(len(CONTENT))})

        house.service.replying = incomplete
        with pytest.raises(ServiceError, match="again and again"):
            await house.transcribe()
        assert len(at_s) == 4
        assert min(later - earlier for earlier, later in itertools.pairwise(at_s)) >= 1.0
        assert house.job().state is JobState.SUBMITTING

    async def test_a_submission_needs_no_recording(self, house: House) -> None:
        """All its parts were hashed when they were sent: the file may be on an unplugged disk by now."""
        job = await house.stopped_by_401(SUBMIT)
        house.recording.unlink()
        async with house.client() as client:
            done = await client.wait(job.id)
        assert done.text == TEXT
        assert list(house.service.jobs.values()) == [CONTENT]


async def test_a_job_that_failed_at_the_service_is_not_paid_for_twice(house: House) -> None:
    """The same command meets the same job and its verdict; it makes no second one."""
    failing = {"status": "failed", "message": "too noisy"}
    house.service.replying = lambda asked: reply(200, content=failing) if asked.method == "GET" else None
    for _ in range(2):
        with pytest.raises(JobFailed, match="too noisy"):
            await house.transcribe()
    assert len(house.service.jobs) == 1
    assert house.job().state is JobState.FAILED


async def test_a_lost_artifact_is_made_and_sent_again(house: House) -> None:
    """Whoever cleaned our folder up costs the user time: same job, same key, one transcript of the whole recording."""
    write_wav(house.recording, 200_000, seed=1)
    job = await house.stopped_by_401(PATCH, recipe="standard")
    assert job.artifact is not None
    assert not job.artifact.is_source
    (house.state / "jobs" / job.id / "spool" / job.artifact.path).unlink()
    keys = set[str]()

    def noting(asked: Asked) -> None:
        if asked.route == SUBMIT:
            keys.add(asked.headers["idempotency-key"])

    house.service.replying = noting
    assert await house.transcribe(recipe="standard") == TEXT
    assert house.job().id == job.id
    assert keys == {f'"{job.idempotency_key}"'}
    assert [len(content) for content in house.service.jobs.values()] == [job.artifact.size_bytes]
    assert house.warnings() == ["the prepared artifact is no longer here; it is made and sent again"]


class TestPrepared:
    async def test_a_recording_that_changed_is_prepared_again(self, house: House) -> None:
        """Same job, same key, lanes of their own: what is transcribed is the recording as it is now."""
        write_wav(house.recording, 200_000, seed=1)
        job = await house.stopped_by_401(PATCH, recipe="standard")
        write_wav(house.recording, 200_000, seed=2)
        keys = set[str]()

        def noting(asked: Asked) -> bytes | None:
            if asked.route == SUBMIT:
                keys.add(asked.headers["idempotency-key"])
            return reply(204) if asked.method == "DELETE" else None

        house.service.replying = noting
        assert await house.transcribe(recipe="standard") == TEXT
        assert (house.job().id, keys) == (job.id, {f'"{job.idempotency_key}"'})
        assert house.service.requests.count("DELETE /v1/uploads/{id}") == 1
        assert [warning.partition(" since ")[0] for warning in house.warnings()] == ["the recording changed"]
        write_wav(house.recording, 200_000, seed=1)
        async with house.client(recipe="standard") as client:
            await client.upload(house.recording)  # another job, as the first one was submitted
        first, second = house.service.jobs.values()
        assert first != second

    async def test_an_artifact_that_rotted_on_the_disk_becomes_no_job(self, house: House) -> None:
        """One bit of it flipped after it was sealed: it is what was sent, not what was said, and is made again."""
        write_wav(house.recording, 200_000, seed=1)
        job = await house.stopped_by_401(PATCH, recipe="standard")
        assert job.artifact is not None
        path = house.state / "jobs" / job.id / "spool" / job.artifact.path
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        assert await house.transcribe(recipe="standard") == TEXT
        assert list(house.service.jobs.values()) == [whole]
        assert house.warnings() == ["the prepared artifact is no longer what it was; it is made and sent again"]

    async def test_a_recording_that_was_only_touched_is_not(self, house: House) -> None:
        """Its bytes are the same as far as can be told: what was prepared and sent stays."""
        write_wav(house.recording, 200_000, seed=1)
        job = await house.stopped_by_401(PATCH, recipe="standard")
        os.utime(house.recording)
        assert await house.transcribe(recipe="standard") == TEXT
        assert house.job().id == job.id
        assert "POST /v1/uploads" not in house.service.requests
        assert house.warnings() == []

    @pytest.mark.parametrize("recipe", ["as-is", "standard"])
    async def test_a_recording_touched_after_it_was_submitted_is_not_paid_for_twice(
        self, house: House, recipe: str
    ) -> None:
        """The same transcript, without another job; edited in one byte it is another recording."""
        write_wav(house.recording, 200_000, seed=1)
        assert await house.transcribe(recipe=recipe) == TEXT
        job = house.job()
        house.service.requests.clear()
        os.utime(house.recording)
        assert await house.transcribe(recipe=recipe) == TEXT
        assert house.job().id == job.id
        assert not any(request.startswith("POST") for request in house.service.requests)
        assert house.warnings() == [] if recipe == "as-is" else "add `--new`" in house.warnings()[0]
        assert await house.transcribe(recipe=recipe) == TEXT
        content = bytearray(house.recording.read_bytes())
        content[100_000] ^= 1
        house.recording.write_bytes(content)
        assert await house.transcribe(recipe=recipe) == TEXT
        assert len(house.service.jobs) == 2

    async def test_a_recording_that_shrank_is_told_with_both_ways(self, house: House) -> None:
        """The prepared artifact holds more than the file does now: it can be finished, or begun anew."""
        write_wav(house.recording, 200_000, seed=1)
        job = await house.stopped_by_401(PATCH, recipe="standard")
        size = house.recording.stat().st_size
        write_wav(house.recording, 100_000, seed=1)
        async with house.client(recipe="standard") as client:
            with pytest.raises(RecordingChanged, match=f"{size} bytes when job {job.id} began") as caught:
                await client.transcribe(house.recording)
            assert "--new" in (caught.value.hint or "")
            assert f"speechstream resume {job.id}" in (caught.value.hint or "")
            await client.resume(job.id)
        assert len(house.service.jobs) == 1

    async def test_while_another_process_is_at_work(self, house: House) -> None:
        """Nothing is taken from under it: its result is waited for, and the change is told."""
        write_wav(house.recording, 200_000, seed=1)
        job = await house.stopped_by_401(PATCH, recipe="standard")
        write_wav(house.recording, 200_000, seed=2)
        with owned(house.state / "jobs" / job.id) as mine:
            assert mine
            async with house.client(recipe="standard") as client:
                assert (await client.open(house.recording)).identity == job.identity
        assert "another process is at work" in house.warnings()[-1]


class TestCancel:
    async def test_without_a_key(self, house: House) -> None:
        """Giving up needs nobody's leave: the job is cancelled, and what stays on the server is said."""
        job = await house.stopped_by_401(PATCH)
        async with house.client(api_key=None) as client:
            with pytest.raises(ConfigError):
                await client.transcribe(house.recording)
            assert (await client.cancel(job.id)).state is JobState.CANCELLED
        assert house.service.requests == []
        assert "the server's copy stays until it expires" in house.warnings()[-1]
        assert not (house.state / "jobs" / job.id).exists()

    async def test_while_the_server_is_away(self, house: House) -> None:
        """A server that breaks every connection is asked once and not waited for."""
        job = await house.stopped_by_401(PATCH)
        began_s = house.clock.now_s
        house.service._strike = Strike(1, Moment.BEFORE, blows=1000)
        async with house.client() as client:
            assert (await client.cancel(job.id)).state is JobState.CANCELLED
        assert house.clock.now_s == began_s
        assert "the server's copy stays until it expires" in house.warnings()[-1]

    async def test_the_uploads_go_from_the_server(self, house: House) -> None:
        """With a key and a server the remote copy is removed, and nothing needs saying."""
        job = await house.stopped_by_401(PATCH)
        house.service.replying = lambda asked: reply(204) if asked.method == "DELETE" else None
        async with house.client() as client:
            await client.cancel(job.id)
        assert house.service.requests == ["DELETE /v1/uploads/{id}"]
        assert house.warnings() == []


class TestFolders:
    async def test_progress_that_a_kill_left_half_written_goes(self, house: House) -> None:
        """The job goes on being waited for elsewhere; whoever owns its folder just now keeps its draft."""
        async with house.client() as client:
            job_id = (await client.upload(house.recording)).job_id
        draft = house.state / "jobs" / job_id / "live.new"
        draft.write_text("{")
        with owned(draft.parent) as mine:
            assert mine
            async with house.client():
                assert draft.exists()
        async with house.client():
            assert not draft.exists()

    async def test_what_a_kill_left_behind_a_finished_job_goes(self, house: House) -> None:
        """At the next start; an unfinished job's folder stays, and so does what is none of ours."""
        await house.transcribe()
        done = house.job()
        house.replace_recording()
        house.service.replying = refusing(PATCH)
        with pytest.raises(KeyRejected):
            await house.transcribe()
        house.service.replying = lambda _: None
        jobs = house.state / "jobs"
        (unfinished,) = jobs.iterdir()
        for name in (done.id, "not-a-job"):
            (jobs / name / "spool").mkdir(parents=True)
            (jobs / name / "spool" / "artifact.ogg").write_bytes(b"left behind")
        async with house.client():
            pass
        assert {path.name for path in jobs.iterdir()} == {unfinished.name, "not-a-job"}

    async def test_a_finished_job_gets_no_folder_again(self, house: House) -> None:
        """Its transcript comes from the manifest, without a request and without a trace on the disk."""
        await house.transcribe()
        house.service.requests.clear()
        assert await house.transcribe() == TEXT
        assert house.service.requests == []
        assert list((house.state / "jobs").iterdir()) == []


async def test_who_waits_for_a_turn_to_submit_holds_up_no_upload(house: House) -> None:
    """Of a resumed job its bytes are brought first, which a few may do at once; its turn it waits for apart."""
    job = await house.stopped_by_401(PATCH)
    async with house.client() as client:
        brought = await client.bring_on(job.id)
        assert brought.state is JobState.SUBMITTING
        assert SUBMIT not in house.service.requests
        assert getattr(await client.resume(job.id), "text", None) == TEXT
    assert list(house.service.jobs.values()) == [CONTENT]
