"""The locks of tusd 2.x: one request at a time for an upload, and what the others are told meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.personalities.server import Asked, Personality, Reply, Upload

if TYPE_CHECKING:
    from collections.abc import Callable


class LockingTusd(Personality):
    """Serves one request of an upload at a time, and has the one that holds it let go for the next.

    tusd asks the holder to stop, waits for up to 20 s (`lock_wait_s` here), and then says 500 ERR_LOCK_TIMEOUT. A
    store without that (`releases` False) says 423 at once, until the holder's own deadline for the network
    (`network_wait_s`) has passed.
    """

    mimics = "tusd"

    def __init__(self, *, releases: bool, lock_wait_s: float = 1.0) -> None:
        super().__init__()
        self.refused = 0
        self._releases = releases
        self._lock_wait_s = lock_wait_s
        self._stop_holder: Callable[[], None] = lambda: None

    def stand(self, asked: Asked) -> Reply:
        """HEAD, once the upload is free."""
        upload = self.upload_of(asked)
        if upload is None:
            return Reply(404)
        return self._alone(upload, lambda: super(LockingTusd, self).stand(asked))

    def append(self, asked: Asked) -> Reply:
        """PATCH, once the upload is free; stopped where the next one asks for it."""
        upload = self.upload_of(asked)
        if upload is None:
            asked.drain()
            return Reply(404)

        def hold() -> Reply:
            self._stop_holder = asked.interrupt
            refusal = self.refuse(asked, upload)
            if refusal is not None:
                asked.drain()
                return refusal
            return self.take(asked, upload)

        return self._alone(upload, hold)

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """What came before it was stopped is kept."""
        if asked.keep(upload.content, asked.length_bytes) == asked.length_bytes:
            return Reply(204, {"Upload-Offset": str(len(upload.content))})
        return Reply(
            400, body=b"ERR_UPLOAD_INTERRUPTED: upload has been interrupted by another request\n", hang_up=True
        )

    def _alone(self, upload: Upload, act: Callable[[], Reply]) -> Reply:
        if self._releases:
            free = upload.lock.acquire(timeout=0.0)
            if not free:
                self._stop_holder()
                free = upload.lock.acquire(timeout=self._lock_wait_s)
        else:
            free = upload.lock.acquire(blocking=False)
        if not free:
            self.refused += 1
            if self._releases:
                return Reply(500, body=b"ERR_LOCK_TIMEOUT: failed to acquire lock before timeout\n", hang_up=True)
            return Reply(423, body=b"ERR_FILE_LOCKED: file currently locked\n", hang_up=True)
        try:
            return act()
        finally:
            upload.lock.release()
