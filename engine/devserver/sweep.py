"""Removes what nobody will come back for."""

import fcntl
import logging
import os
import time
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


async def sweep_for_ever(config: Config, folder: Folder, store: Store, uploads: Uploads) -> None:
    """Sweep now and every minute."""
    while True:
        await sweep(config, folder, store, uploads)
        await anyio.sleep(_EVERY_S)


async def sweep(config: Config, folder: Folder, store: Store, uploads: Uploads) -> None:
    """Remove expired uploads, and bodies whose server was killed."""
    now = time.time()
    expired = await to_thread.run_sync(store.expired, now - config.unfinished_ttl_s, now - config.finished_ttl_s)
    for upload in expired:
        try:
            await uploads.remove(upload)
        except Refusal as refusal:
            log.info("an expired upload stays for now: %s", refusal.message)
    await to_thread.run_sync(_drop_abandoned, folder.incoming)


def _drop_abandoned(incoming: Path) -> None:
    """Remove bodies that nobody writes any more: a writer holds its file's lock."""
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
