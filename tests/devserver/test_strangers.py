"""Whoever has no key, or another one: nothing of mine is theirs, and no text of theirs is more than a text."""

import hmac
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from engine.devserver.access import AccountMiddleware
from engine.devserver.keys import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]


@pytest.mark.parametrize(
    "name",
    [
        "../../../escape",
        "/etc/passwd",
        "..\\..\\x",
        "a\0b",
        "x" * 4000,
        "a\r\nX: y",
        "\u202egpj.exe",
        "%2e%2e%2fx",
        '"',
        ".",
        "",
    ],
)
def test_a_file_name_is_never_a_path(
    service: "Service", name: str, submission: Callable[..., dict[str, object]]
) -> None:
    """However a name is spelled, the recording lies under its job's id and nowhere else."""
    before = set(service.files())
    single = service.http.post("/v1/upload", files={"file": (name or None, b"x")})
    upload = service.finished(b"y")
    document = submission(upload, b"y", filename=name)
    by_reference = service.submit(document)
    assert by_reference.status_code == (200 if 1 <= len(name) <= 1024 else 400)
    made = {path.rpartition("/")[2] for path in set(service.files()) - before}
    jobs = {reply.json()["processing_id"] for reply in (single, by_reference) if reply.status_code == 200}
    assert made == jobs | {service.file(upload).name}


def test_a_log_line_is_one_line(start: Start) -> None:
    """No method, path, id, name or key of a stranger's making gets into the log."""
    service = start("--no-transcriber")
    evil = "evil%0d%0a2026-01-01%20root%20logged%20in%1b%5b31m"
    service.said(service.by_hand(f"GET /{evil} HTTP/1.1"))
    service.said(service.by_hand(f"HEAD /v1/uploads/{evil} HTTP/1.1"))
    service.said(service.by_hand("EVIL /v1/status HTTP/1.1"))
    service.said(service.by_hand(f"GET /v1/status?processing_id={evil} HTTP/1.1", f"User-Agent: {evil}"))
    service.http.post("/v1/upload", files={"file": ("evil\r\nname\x1b[31m", b"x")})
    service.http.get("/v1/status", headers={"Authorization": "Bearer evil"})
    service.said(b"evil\x1b[31m\r\n\r\n")
    service.end()
    assert "evil" not in service.log.lower()
    assert "\x1b" not in service.log
    assert "(other method) /v1/status" in service.log
    assert all(line[:3] == "202" or "listens at" in line for line in service.log.splitlines() if line)


@pytest.mark.anyio
async def test_guessing_keys_is_slow_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys of one address are answered one after the other, after a pause each; a right one passes them all."""
    pausing: Counter[str] = Counter()
    most_at_once: Counter[str] = Counter()
    over = anyio.Event()
    answers: list[int] = []

    async def pause(seconds: float) -> None:
        assert seconds > 0
        address = addresses[anyio.get_current_task().id]
        pausing[address] += 1
        most_at_once[address] = max(most_at_once[address], pausing[address])
        await over.wait()
        pausing[address] -= 1

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        answers.append(200)
        over.set()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])

    addresses: dict[int, str] = {}
    door = AccountMiddleware(served, keyring=Keyring.parse(["right"], source="test"), most_at_once=100)
    monkeypatch.setattr("engine.devserver.access.anyio.sleep", pause)

    async def call(address: str, key: str) -> None:
        addresses[anyio.get_current_task().id] = address
        headers = [(b"authorization", f"Bearer {key}".encode())]
        request = {"type": "http", "path": "/v1/status", "method": "GET", "headers": headers, "client": (address, 1)}
        await door(request, receive, send)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(call, f"10.0.0.{number % 2}", f"guess-{number}")
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        tasks.start_soon(call, "10.0.0.0", "right")
    assert answers == [200, *[401] * 20]
    assert most_at_once == {"10.0.0.0": 1, "10.0.0.1": 1}


def test_a_key_is_compared_in_a_time_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every known key is compared, by hash and in constant time, whether or not one has matched."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def noted(known: bytes, shown: bytes) -> bool:
        compared.append((known, shown))
        same: bool = real(known, shown)
        return same

    monkeypatch.setattr("engine.devserver.keys.hmac.compare_digest", noted)
    ring = Keyring.parse(["one", "two", "three"], source="test")
    assert ring.account("one") is not None
    assert ring.account("none") is None
    assert len(compared) == 6
    assert {len(value) for pair in compared for value in pair} == {32}


@pytest.mark.parametrize("again", ["same", "other body", "by reference"])
def test_a_replayed_upload_is_no_second_job(
    service: "Service", again: str, submission: Callable[..., dict[str, object]]
) -> None:
    """A key that was recorded on the wire gets at most the id it already made, whatever comes with it."""
    key = f"replayed-{again}".replace(" ", "-")
    first = service.http.post("/v1/upload", files={"file": b"x"}, headers={"Idempotency-Key": key})
    recordings = len(list((service.data / "recordings").iterdir()))
    if again == "by reference":
        reply = service.submit(submission(service.finished(b"y"), b"y"), key)
        assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    else:
        body = {"file": b"x" if again == "same" else b"other"}
        reply = service.http.post("/v1/upload", files=body, headers={"Idempotency-Key": key})
        assert reply.json() == first.json()
        assert reply.headers["Idempotent-Replayed"] == "true"
    assert len(list((service.data / "recordings").iterdir())) == recordings


def test_the_method_in_a_header_opens_nothing(service: "Service") -> None:
    """An OPTIONS, which needs no key, stays one; a POST that means another method needs a key as that one does."""
    path = service.create(3)
    for override in ("DELETE", "PATCH", "delete", "HEAD"):
        headers = service.tus | {"Authorization": "", "X-HTTP-Method-Override": override}
        assert service.http.options(path, headers=headers).status_code == 204
        refused = service.http.post(path, headers=headers)
        assert (refused.status_code, set(refused.json())) == (401, {"message"})
    assert service.offset(path) == 0


def test_the_database_is_never_in_reach_of_a_text(service: "Service") -> None:
    """Ids, keys and names with SQL in them are texts."""
    text = "x'; DROP TABLE uploads; --"
    assert service.http.get("/v1/status", params={"processing_id": text}).status_code == 404
    assert service.http.post("/v1/upload", files={"file": (text, b"x")}).status_code == 200
    assert (
        service.http.post("/v1/upload", files={"file": b"x"}, headers={"Idempotency-Key": f'"{text}"'}).status_code
        == 200
    )
    assert service.offset(service.create(1)) == 0


def test_what_is_somebody_else_s_answers_as_what_never_was(start: Start, tmp_path: "Path") -> None:
    """Another account's upload, its job and its lanes answer exactly as what never was: no oracle."""
    key_file = tmp_path / "keys"
    key_file.write_text("ann:first-key\nbob:second-key\n")
    key_file.chmod(0o600)
    service = start(
        "--no-transcriber", "--key-file", str(key_file), "--status-interval", "0", "--uploads-per-minute", "100"
    )
    ann, bob = ({"Authorization": f"Bearer {name}-key"} for name in ("first", "second"))
    tus = service.tus
    lane = service.http.post("/v1/uploads", headers=tus | ann | {"Upload-Length": "0", "Upload-Concat": "partial"})
    gone = service.http.post("/v1/uploads", headers=tus | ann | {"Upload-Length": "1", "Upload-Concat": "partial"})
    service.http.delete(gone.headers["Location"], headers=tus | ann)
    job = service.http.post("/v1/upload", files={"file": b"x"}, headers=ann).json()["processing_id"]

    def answers(path: str, job: str) -> list[tuple[int, bytes, list[str]]]:
        replies = [
            service.http.head(path, headers=tus | bob),
            service.http.delete(path, headers=tus | bob),
            service.http.patch(path, headers=service.chunk | bob | {"Upload-Offset": "0"}, content=b"x"),
            service.http.post("/v1/uploads", headers=tus | bob | {"Upload-Concat": f"final;{path}"}),
            service.http.get("/v1/status", params={"processing_id": job}, headers=bob),
            service.http.post(
                "/v1/upload",
                headers=bob,
                json={
                    "upload": path,
                    "size": 0,
                    "filename": "x",
                    "part_size": 1,
                    "digest": {"algorithm": "xxh3-128-parts", "value": "99aa06d3014798d86001c324468d497f"},
                    "parts": [],
                },
            ),
        ]
        return [(reply.status_code, reply.content, sorted(reply.headers)) for reply in replies]

    nothing = answers("/v1/uploads/never-made", "never-made")
    assert [status for status, _, _ in nothing] == [404, 404, 404, 400, 404, 404]
    assert answers(lane.headers["Location"], job) == nothing
    assert answers(gone.headers["Location"], job) == nothing
    assert service.http.head(lane.headers["Location"], headers=tus | ann).status_code == 200
