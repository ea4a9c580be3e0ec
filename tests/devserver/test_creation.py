"""Uploads made and joined under an Idempotency-Key: a lost answer costs nothing, and nobody else's lanes are joined."""

import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]
Document = Callable[..., dict[str, object]]
PART_BYTES = 64 << 10


def lane(service: "Service", data: bytes) -> str:
    """A complete partial upload."""
    path = service.create(len(data), {"Upload-Concat": "partial"})
    assert service.patch(path, 0, data).status_code == 204
    return path


def join(service: "Service", lanes: list[str], key: str | None = None, **headers: str) -> httpx.Response:
    """Ask for a final upload."""
    asked = service.tus | {"Upload-Concat": f"final;{' '.join(lanes)}"} | headers
    return service.http.post("/v1/uploads", headers=asked | ({} if key is None else {"Idempotency-Key": f'"{key}"'}))


def test_a_repeated_join_is_the_same_upload(service: "Service", noise: bytes) -> None:
    """Who lost the 201 gets the same Location again, also after the lanes were terminated."""
    lanes = [lane(service, noise[:70_000]), lane(service, noise[70_000:])]
    first = join(service, lanes, "join-1")
    files = len(list((service.data / "uploads").iterdir()))

    again = join(service, lanes, "join-1")
    for path in lanes:
        service.http.delete(path, headers=service.tus)
    late = join(service, lanes, "join-1")

    assert [reply.status_code for reply in (first, again, late)] == [201, 201, 201]
    assert len({reply.headers["Location"] for reply in (first, again, late)}) == 1
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert service.offset(late.headers["Location"]) == len(noise)
    assert len(list((service.data / "uploads").iterdir())) == files - len(lanes)


def test_without_a_key_every_join_is_another_upload(service: "Service") -> None:
    """Nobody said that the second is the first."""
    lanes = [lane(service, b"abc")]
    assert join(service, lanes).headers["Location"] != join(service, lanes).headers["Location"]


def test_eight_joins_at_once_make_one_upload(service: "Service") -> None:
    """One wins; the others are told of it and leave no file."""
    lanes = [lane(service, b"abc"), lane(service, b"def")]
    before = len(list((service.data / "uploads").iterdir()))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: join(service, lanes, "join-at-once"), range(8)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.headers["Location"] for reply in replies}) == 1
    assert len(list((service.data / "uploads").iterdir())) == before + len(lanes)


def test_a_join_survives_a_kill(start: Start, noise: bytes, submission: Document) -> None:
    """The server dies after the join; the repeated join answers as before, and the job gets the lanes' bytes."""
    service = start("--no-transcriber")
    lanes = [lane(service, noise[:100_000]), lane(service, noise[100_000:])]
    first = join(service, lanes, "killed").headers["Location"]
    service.end(signal.SIGKILL)

    again = start("--no-transcriber")
    assert join(again, lanes, "killed").headers["Location"] == first
    reply = again.submit(submission(first, noise), "job")
    assert again.recording(reply.json()["processing_id"]) == noise


def test_a_key_stands_for_what_was_asked_for(service: "Service") -> None:
    """Other lanes, another length or other metadata under the same key make another upload."""
    lanes = [lane(service, b"abc"), lane(service, b"def")]
    made = [
        join(service, lanes, "asked"),
        join(service, lanes[::-1], "asked"),
        join(service, lanes, "asked", **{"Upload-Metadata": "filename YQ=="}),
    ]
    assert len({reply.headers["Location"] for reply in made}) == 3


def test_a_plain_creation_may_be_repeated_too(service: "Service") -> None:
    """A lost 201 leaves no orphan; the offset is where the first upload stands; what is gone is made anew."""
    key = {"Idempotency-Key": '"plain-1"'}
    path = service.create(6, key)
    service.patch(path, 0, b"abc")
    assert service.create(6, key) == path
    assert service.offset(path) == 3
    assert service.create(7, key) != path
    service.http.delete(path, headers=service.tus)
    assert service.create(6, key) != path


def test_a_key_of_another_account_is_another_key(start: Start, tmp_path: "Path") -> None:
    """Keys collide with nobody's."""
    key_file = tmp_path / "keys"
    key_file.write_text("ann:first-key\nbob:second-key\n")
    key_file.chmod(0o600)
    service = start("--no-transcriber", "--key-file", str(key_file))
    paths = [
        service.create(1, {"Idempotency-Key": "k", "Authorization": f"Bearer {name}-key"})
        for name in ("first", "second")
    ]
    assert len(set(paths)) == 2


def test_only_damaged_lanes_are_sent_again(start: Start, noise: bytes, submission: Document) -> None:
    """After a digest_mismatch the good lanes stay, and joined with a new one they are the recording."""
    service = start("--no-transcriber")
    bounds = [0, 2 * PART_BYTES, 4 * PART_BYTES, len(noise)]
    spoiled = bytearray(noise)
    spoiled[3 * PART_BYTES] ^= 1
    lanes = [lane(service, bytes(spoiled[a:b])) for a, b in pairwise(bounds)]
    joined = join(service, lanes, "k.join.0").headers["Location"]
    refused = service.submit(submission(joined, noise), "k")
    assert (refused.status_code, refused.json()["bad_parts"]) == (422, [3])

    lanes[1] = lane(service, noise[bounds[1] : bounds[2]])
    rejoined = join(service, lanes, "k.join.1").headers["Location"]
    reply = service.submit(submission(rejoined, noise), "k")

    assert reply.status_code == 200
    assert service.recording(reply.json()["processing_id"]) == noise
    assert len(list((service.data / "recordings").iterdir())) == 1


def test_a_lane_that_cannot_be_joined_is_named(service: "Service") -> None:
    """400 tells which: unknown, gone, plain and repeated ones look alike, and good ones are not named."""
    good = lane(service, b"abc")
    gone = lane(service, b"abc")
    service.http.delete(gone, headers=service.tus)
    reply = join(service, ["/v1/uploads/never", good, gone, service.create(3), good], "unjoined")
    assert reply.status_code == 400
    assert reply.json()["code"] == "bad_partials"
    assert reply.json()["bad_partials"] == [0, 2, 3, 4]


def test_a_final_whose_lane_ended_early_is_gone(service: "Service", submission: Document) -> None:
    """It can never be complete, and says so instead of having no offset for ever."""
    lanes = [lane(service, b"abc"), service.create(3, {"Upload-Concat": "partial"})]
    final = join(service, lanes).headers["Location"]
    assert "Upload-Offset" not in service.head(final).headers
    service.http.delete(lanes[1], headers=service.tus)
    assert service.head(final).status_code == 410
    assert service.submit(submission(final, b"abcdef")).status_code == 410
    assert service.offset(lanes[0]) == 3


def test_a_look_into_the_database_opens_no_creation(service: "Service", noise: bytes) -> None:
    """Neither the keys nor the ids made under them are kept."""
    path = service.create(len(noise), {"Idempotency-Key": '"a-creation-key"'})
    service.http.post("/v1/upload", files={"file": b"x"}, headers={"Idempotency-Key": '"a-job-key"'})
    for file in service.data.glob("state.db*"):
        content = file.read_bytes()
        for secret in (path.rpartition("/")[2], "a-creation-key", "a-job-key"):
            assert secret.encode() not in content


def test_keys_of_an_older_database_still_count(start: Start, noise: bytes) -> None:
    """A data folder made before keys were hashed is taken over, and its keys give the same jobs."""
    service = start("--no-transcriber")
    first = service.http.post("/v1/upload", files={"file": noise}, headers={"Idempotency-Key": "old"})
    service.end()
    with sqlite3.connect(service.data / "state.db") as db:
        for name in ("creations_of_upload", "members_of_partial", "uploads_unspent", "uploads_gone"):
            db.execute(f"DROP INDEX {name}")
        db.execute("ALTER TABLE uploads DROP COLUMN spent")
        db.execute("DROP TABLE creations")
        db.execute("UPDATE idempotency SET key = 'old'")
        db.execute("PRAGMA user_version = 1")
    db.close()
    again = start("--no-transcriber")
    reply = again.http.post("/v1/upload", files={"file": noise}, headers={"Idempotency-Key": "old"})
    assert reply.json() == first.json()


@pytest.mark.parametrize("key", ['"', "a b", "x" * 256])
def test_a_malformed_key_makes_no_upload(service: "Service", key: str) -> None:
    """It is 400, as for a job."""
    headers = service.tus | {"Upload-Length": "1", "Idempotency-Key": key}
    assert service.http.post("/v1/uploads", headers=headers).status_code == 400
