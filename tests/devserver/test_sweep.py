"""What is removed in time, and what never is."""

import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.devserver.config import DAY_S, Config
from engine.devserver.folder import Folder
from engine.devserver.store import Job, Store, Upload
from engine.devserver.sweep import drop_abandoned, drop_expired, drop_orphans
from engine.devserver.uploads import Uploads

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.make()
    return made


@pytest.fixture
def store(folder: Folder) -> Iterator[Store]:
    opened = Store(folder.database)
    yield opened
    opened.close()


@pytest.fixture
def uploads(folder: Folder, store: Store) -> Uploads:
    return Uploads(folder.uploads, store)


async def test_an_unfinished_upload_lives_a_week_and_a_finished_one_a_month(
    folder: Folder, store: Store, uploads: Uploads
) -> None:
    """Then it is gone, file and all, while one that is in use stays."""
    config = Config(data=folder.root)
    await uploads.create(Upload(name="unfinished", account="a", length=5))
    held = await uploads.create(Upload(name="held", account="a", length=5))
    await uploads.create(Upload(name="finished", account="a", length=0))

    async def left_after(days: float) -> set[str]:
        await drop_expired(config, store, uploads, time.time() + days * DAY_S)
        return {path.name for path in folder.uploads.iterdir()}

    assert await left_after(6.9) == {"unfinished", "held", "finished"}
    async with uploads.hold(held):
        assert await left_after(7.1) == {"held", "finished"}
    assert await left_after(29.9) == {"finished"}
    assert await left_after(30.1) == set()
    unfinished = store.upload("unfinished")
    assert unfinished is not None
    assert unfinished.gone_at is not None


async def test_only_bodies_that_nobody_writes_are_abandoned(folder: Folder) -> None:
    """The lock tells, whichever process holds it."""
    (folder.incoming / "dead").write_bytes(b"x")
    with (folder.incoming / "alive").open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        drop_abandoned(folder.incoming)
        assert [path.name for path in folder.incoming.iterdir()] == ["alive"]


async def test_only_old_files_without_a_row_are_orphans(folder: Folder, store: Store, uploads: Uploads) -> None:
    """What a job or an upload speaks of stays, and so does what is just being made."""
    await uploads.create(Upload(name="known", account="a", length=5))
    (folder.uploads / "known.0").write_bytes(b"a final's part")
    store.add_job(Job(id="job", account="a", upload=None, filename="x", size=1), None)
    for path in (folder.uploads / "unknown", folder.recordings / "job", folder.recordings / "unknown"):
        path.write_bytes(b"x")
    drop_orphans(folder, store, time.time())
    assert (folder.uploads / "unknown").exists()
    drop_orphans(folder, store, time.time() + 2 * 3600)
    assert {path.name for path in folder.uploads.iterdir()} == {"known", "known.0"}
    assert {path.name for path in folder.recordings.iterdir()} == {"job"}
