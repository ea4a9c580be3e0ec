"""Removes what nobody will come back for: expired uploads, and what a killed server left half made."""

import fcntl
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread

from .config import Config
from .errors import Refusal
from .folder import Folder
from .store import Store
from .uploads import Uploads

log = logging.getLogger("speechstream.sweep")

_EVERY_S = 60.0
_REMEMBERED_S = 3600.0  # so long is an upload that is gone told from one that never was
_ORPHAN_S = 3600.0  # a file is made before its row: younger ones may belong to a server at work


async def sweep_for_ever(config: Config, folder: Folder, store: Store, uploads: Uploads) -> None:
    """Remove orphans every hour, as old as they must be, and expired uploads every minute."""
    orphans_at = -math.inf
    while True:
        if anyio.current_time() >= orphans_at + _ORPHAN_S:
            orphans_at = anyio.current_time()
            await to_thread.run_sync(drop_orphans, folder, store, time.time())
        await drop_expired(config, store, uploads, time.time())
        await to_thread.run_sync(store.forget_gone, time.time() - _REMEMBERED_S)
        await to_thread.run_sync(drop_abandoned, folder.incoming)
        await anyio.sleep(_EVERY_S)


async def drop_expired(config: Config, store: Store, uploads: Uploads, now: float) -> None:
    """Remove uploads that nobody has touched for their time to live, but none that is in use."""
    unfinished, finished = now - config.unfinished_ttl_s, now - config.finished_ttl_s
    for upload in await to_thread.run_sync(store.expired, unfinished, finished):
        if uploads.is_held(upload.name):
            continue
        try:
            await uploads.remove(upload)
        except Refusal as refusal:
            log.info("an expired upload stays for now: %s", refusal.message)


def drop_abandoned(incoming: Path) -> None:
    """Remove bodies that nobody writes any more: a writer holds its file's lock. Blocks."""
    for path in incoming.iterdir():
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            continue
        finally:
            os.close(file)


def drop_orphans(folder: Folder, store: Store, now: float) -> None:
    """Remove files that no row speaks of: their server was killed between the two. Blocks."""

    def is_upload(name: str) -> bool:
        upload = store.upload(name.partition(".")[0])
        return upload is not None and upload.gone_at is None

    _drop_unknown(folder.uploads, is_upload, now - _ORPHAN_S)
    _drop_unknown(folder.recordings, lambda name: store.job(name) is not None, now - _ORPHAN_S)


def _drop_unknown(folder: Path, is_known: Callable[[str], bool], before: float) -> None:
    for path in folder.iterdir():
        try:
            is_old = path.stat().st_ctime < before
        except FileNotFoundError:
            continue
        if is_old and not is_known(path.name):
            path.unlink(missing_ok=True)
