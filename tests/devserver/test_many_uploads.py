"""Uploads by the thousand, and a disk that is full: refused clearly, swept quickly, and never untrue."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.devserver.config import DAY_S, Config
from engine.devserver.database import key_digest
from engine.devserver.errors import Refusal
from engine.devserver.folder import Folder
from engine.devserver.store import Job, Store, TooManyError, Upload
from engine.devserver.sweep import drop_expired
from engine.devserver.uploads import Uploads

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]
MANY = 10_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "data")
    made.make()
    return made


@pytest.fixture
def store(folder: Folder) -> Iterator[Store]:
    opened = Store(folder.database)
    yield opened
    opened.close()


def fill(folder: Folder, store: Store, count: int, account: str = "ann") -> None:
    """So many unfinished uploads, in one transaction."""
    now = time.time()
    rows = [(f"{index:064x}", account, now) for index in range(count)]
    with store._write() as db:
        db.executemany(
            "INSERT INTO uploads (name, account, length, metadata, kind, synced, touched_at) "
            "VALUES (?, ?, 1, '', 'plain', 0, ?)",
            rows,
        )
    for name, _, _ in rows:
        (folder.uploads / name).touch()


def test_a_key_may_leave_so_many_uploads_behind(start: Start) -> None:
    """One more is 507 with a code and what to do; terminating or submitting one makes room."""
    service = start("--no-transcriber", "--upload-files", "5")
    paths = [service.create(length) for length in (0, 1, 2, 3, None)]
    headers = service.tus | {"Upload-Length": "1"}
    before = service.files()
    refused = service.http.post("/v1/uploads", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (507, "too_many_uploads")
    assert "DELETE" in refused.json()["message"]
    assert service.files() == before
    service.http.delete(paths[1], headers=service.tus)
    assert service.http.post("/v1/uploads", headers=headers).status_code == 201
    assert service.http.post("/v1/uploads", headers=headers).status_code == 507


def test_submitted_recordings_and_their_lanes_do_not_count(
    start: Start, submission: Callable[..., dict[str, object]]
) -> None:
    """Who uploads and submits for a month is never in the way of their own uploads."""
    service = start("--no-transcriber", "--upload-files", "6", "--uploads-per-minute", "100")
    for turn in range(6):
        lanes = [service.create(1, {"Upload-Concat": "partial"}) for _ in range(2)]
        for lane in lanes:
            service.patch(lane, 0, b"x")
        final = service.create(None, {"Upload-Concat": f"final;{' '.join(lanes)}"})
        assert service.submit(submission(final, b"xx"), f"job-{turn}").status_code == 200


def test_the_links_of_a_final_upload_count(start: Start) -> None:
    """Joining the same lanes again and again does not fill the folder."""
    service = start("--no-transcriber", "--upload-files", "10")
    lanes = [service.create(1, {"Upload-Concat": "partial"}) for _ in range(4)]
    joined = service.tus | {"Upload-Concat": f"final;{' '.join(lanes)}"}
    statuses = [service.http.post("/v1/uploads", headers=joined).status_code for _ in range(4)]
    assert statuses == [201, 201, 507, 507]
    assert len(list((service.data / "uploads").iterdir())) == 4 + 2 * 4


def test_a_join_is_no_longer_than_an_upload(folder: Folder, store: Store, start: Start) -> None:
    """Bytes sent once are not multiplied: a lane counts once, and together lanes keep to the longest upload."""
    service = start("--no-transcriber")
    lane = service.create(1, {"Upload-Concat": "partial"})
    with store._write() as db:
        db.execute("UPDATE uploads SET length = ?", ((1 << 40) + 1,))
    headers = service.tus | {"Upload-Concat": f"final;{lane}"}
    assert service.http.post("/v1/uploads", headers=headers).status_code == 413
    headers = service.tus | {"Upload-Concat": f"final;{lane} {lane}"}
    assert service.http.post("/v1/uploads", headers=headers).status_code == 400


@pytest.mark.long
@pytest.mark.anyio
async def test_ten_thousand_unfinished_uploads_are_in_nobody_s_way(folder: Folder, store: Store) -> None:
    """They keep their owner from making more, nobody else; and a sweep takes them all, files and rows."""
    fill(folder, store, MANY)
    config = Config(data=folder.root)
    uploads = Uploads(folder.uploads, store, files_max=config.upload_files_max)
    with pytest.raises(Refusal) as refused:
        await uploads.create(Upload(name="one-more", account="ann", length=1))
    assert refused.value.status == 507
    assert not (folder.uploads / "one-more").exists()
    await uploads.create(Upload(name="bob's", account="bob", length=1))

    await drop_expired(config, store, uploads, time.time() + 6 * DAY_S)
    assert len(list(folder.uploads.iterdir())) == MANY + 1
    await drop_expired(config, store, uploads, time.time() + 8 * DAY_S)
    assert list(folder.uploads.iterdir()) == []
    store.forget_gone(time.time() + 1)
    assert store._all("SELECT * FROM uploads") == []


def test_what_is_gone_is_forgotten_but_for_what_still_stands_on_it(folder: Folder, store: Store) -> None:
    """A final upload keeps what it is made of; with it goes the rest."""
    for name, kind in (("lane", "partial"), ("plain", "plain")):
        store.add_upload(Upload(name=name, account="ann", length=0, kind=kind), creation=(f"request-{name}", b"id"))
        store.set_gone(name)
    store.add_upload(Upload(name="final", account="ann", length=0, kind="final"), ("lane",))
    store.forget_gone(time.time() + 1)
    assert store.upload("plain") is None
    assert store.upload("lane") is not None
    store.set_gone("final")
    store.forget_gone(time.time() + 1)
    store.forget_gone(time.time() + 1)
    assert store.upload("lane") is None
    assert store._all("SELECT * FROM creations") == []


def test_a_full_database_is_told_and_left_in_order(folder: Folder, store: Store) -> None:
    """A commit that finds no room is 507 and changes nothing; the next one, with room, goes through."""
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    job = Job(id="j", account="ann", upload=None, filename="x" * 100_000, size=1)
    with pytest.raises(Refusal) as refused:
        store.add_job(job, "key")
    assert refused.value.status == 507
    assert store.job("j") is None
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.add_job(job, "key")
    assert store._one("SELECT job FROM idempotency WHERE key = ?", key_digest("key"))["job"] == "j"  # type: ignore[index]


def test_a_limit_is_told_apart_from_a_full_disk(store: Store) -> None:
    """The store says which it is."""
    store.add_upload(Upload(name="one", account="ann", length=1), files_max=1)
    with pytest.raises(TooManyError):
        store.add_upload(Upload(name="two", account="ann", length=1), files_max=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 80 MiB, of which 64 are the database's."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m,mode=0700", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_up_leaves_every_offset_true(start: Start, small_disk: Path, noise: bytes) -> None:
    """Uploads of both kinds get 507, what arrived counts, the service goes on, and with room so do they."""
    service = start("--no-transcriber", data=small_disk / "data")
    paths = [service.create() for _ in range(3)]
    replies: list[int] = []
    for turn in range(10):
        replies += [service.patch(path, service.offset(path), noise).status_code for path in paths]
        if turn == 9:
            assert service.http.post("/v1/upload", files={"file": noise}).status_code == 507
            refused = service.http.post("/v1/uploads", headers=service.tus | {"Upload-Length": "20000000"})
            assert refused.status_code == 507
    assert set(replies) == {204, 507}
    for path in paths:
        data = service.file(path).read_bytes()
        assert service.offset(path) == len(data)
        assert data == (noise * 10)[: len(data)]
    service.http.delete(paths[0], headers=service.tus)
    offset = service.offset(paths[1])
    assert service.patch(paths[1], offset, noise).status_code == 204
    assert service.offset(paths[1]) == offset + len(noise)


def test_a_join_that_does_not_fit_is_told(
    start: Start, small_disk: Path, noise: bytes, submission: Callable[..., dict[str, object]]
) -> None:
    """A job made of lanes needs room for its copy; without it is 507, no job, no leftover, and later it is made."""
    service = start("--no-transcriber", data=small_disk / "data")
    data = noise * 9
    lane = service.create(len(data), {"Upload-Concat": "partial"})
    assert service.patch(lane, 0, data).status_code == 204
    final = service.create(None, {"Upload-Concat": f"final;{lane}"})
    assert service.submit(submission(final, data), "job").status_code == 507
    assert list((service.data / "recordings").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=120m", str(small_disk)], check=True)
    assert service.submit(submission(final, data), "job").status_code == 200
