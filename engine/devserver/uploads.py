"""Files of uploads: who may write, where they stand, and what is safe to tell.

The file's size is the offset: what was written stays written when the server is killed. Before an offset is
told it is synced to the disk and noted as such; bytes that a checksum has yet to prove, or that a crash of
the machine may have made up, are cut off before anyone looks (``suspect_from``).
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec import Struct, field
from msgspec.structs import replace

from .body import Body, End
from .creations import Creation
from .errors import Refusal
from .folder import sync_folder
from .store import Store, TooManyError, Upload
from .writing import as_refusal

_FOREIGN_LOCK_S = 2.0  # how long to wait for another server process that shares the folder
_FOREIGN_POLL_S = 0.05
_FILE_MODE = 0o600


def new_id() -> str:
    """Make an upload id: a capability nobody can guess."""
    return secrets.token_urlsafe(24)


def name_of(upload_id: str) -> str:
    """The name an upload has on the disk and in the database, from which nobody gets its id."""
    return hashlib.blake2b(upload_id.encode(), digest_size=32).hexdigest()


class Held(Struct):
    """An upload that this request alone may read and write until it lets go."""

    upload: Upload
    file: int
    offset: int


class _Holder(Struct):
    body: Body | None
    released: anyio.Event = field(default_factory=anyio.Event)


class Uploads:
    """All uploads of one data folder, with one writer at a time for each."""

    def __init__(self, folder: Path, store: Store, *, files_max: int | None = None) -> None:
        self._folder = folder
        self._store = store
        self._files_max = files_max
        self._holders: dict[str, _Holder] = {}

    def path(self, name: str) -> Path:
        """The file of an upload."""
        return self._folder / name

    def member_path(self, name: str, position: int) -> Path:
        """A final upload's own link to its partial's file, which outlives the partial."""
        return self._folder / f"{name}.{position}"

    async def create(self, upload: Upload, creation: Creation | None = None) -> Upload:
        """Make an upload's file and remember it, or find the one that its key already made.

        Raises:
            Refusal: What ``admit`` says.
        """
        return await to_thread.run_sync(self._create, upload, creation)

    def _create(self, upload: Upload, creation: Creation | None) -> Upload:
        self.require_few(upload.account)
        made = None
        path = self.path(upload.name)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE_MODE))
            sync_folder(self._folder)
            made = self.admit(upload, (), creation)
        except OSError as error:
            raise as_refusal(error) from error
        finally:
            if made is None or made.name != upload.name:
                path.unlink(missing_ok=True)
        return made

    def admit(self, upload: Upload, members: tuple[str, ...], creation: Creation | None) -> Upload:
        """Remember a new upload whose file is there; returns the one that counts. Blocks.

        Raises:
            Refusal: 507 when the account has as many uploads as it may have.
        """
        known = None if creation is None else (creation.request, creation.sealed)
        try:
            return self._store.add_upload(upload, members, creation=known, files_max=self._files_max)
        except TooManyError as error:
            raise self._too_many() from error

    def require_few(self, account: str) -> None:
        """Refuse before a file is made what ``admit`` would refuse; that costs next to nothing. Blocks.

        Raises:
            Refusal: 507 when the account has as many uploads as it may have.
        """
        if self._files_max is not None and self._store.has_too_many(account, self._files_max):
            raise self._too_many()

    def _too_many(self) -> Refusal:
        message = f"there are {self._files_max} uploads that became no job; terminate those of no use (DELETE)"
        return Refusal(HTTPStatus.INSUFFICIENT_STORAGE, message, extra={"code": "too_many_uploads"})

    async def find(self, account: str, upload_id: str) -> Upload:
        """Look up an upload of this account.

        Raises:
            Refusal: 404 when there is none or it is another account's, 410 when it is gone.
        """
        upload = await to_thread.run_sync(self._store.upload, name_of(upload_id))
        if upload is None or upload.account != account:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such upload")
        if upload.gone_at is not None:
            raise Refusal(HTTPStatus.GONE, "this upload was terminated or has expired")
        return upload

    def is_held(self, name: str) -> bool:
        """Whether a request of this process is at work on an upload."""
        return name in self._holders

    @asynccontextmanager
    async def hold(self, upload: Upload, body: Body | None = None) -> AsyncIterator[Held]:
        """Be the only one at an upload, with its true offset.

        Who holds it with a body is interrupted: its connection may be long dead, and the one who asks now is
        alive. It lets go once its bytes are on the disk.

        Raises:
            Refusal: 410 when it is gone by now, 423 when another server process holds it.
        """
        while (holder := self._holders.get(upload.name)) is not None:
            if holder.body is not None:
                holder.body.interrupt(End.INTERRUPTED)
            await holder.released.wait()
        mine = self._holders[upload.name] = _Holder(body)
        try:
            file = await to_thread.run_sync(self._open, upload)
            try:
                await self._lock(file)
                yield await to_thread.run_sync(self._stand, upload.name, file)
            finally:
                os.close(file)
        finally:
            del self._holders[upload.name]
            mine.released.set()

    def _open(self, upload: Upload) -> int:
        try:
            return os.open(self.path(upload.name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise Refusal(HTTPStatus.GONE, "this upload was terminated or has expired") from error

    @staticmethod
    async def _lock(file: int) -> None:
        with anyio.move_on_after(_FOREIGN_LOCK_S):
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await anyio.sleep(_FOREIGN_POLL_S)
                else:
                    return
        raise Refusal(
            HTTPStatus.LOCKED,
            "another server process is at work on this upload",
            headers={"Retry-After": "1"},
        )

    def _stand(self, name: str, file: int) -> Held:
        """Read where an upload stands, and make it so that this can be told."""
        upload = self._store.upload(name)
        if upload is None or upload.gone_at is not None:
            raise Refusal(HTTPStatus.GONE, "this upload was terminated or has expired")
        size = os.fstat(file).st_size
        if upload.suspect_from is not None and size > upload.suspect_from:
            os.ftruncate(file, upload.suspect_from)
            size = upload.suspect_from
        held = Held(upload, file, size)
        if size != upload.synced or upload.suspect_from is not None:
            self._sync(held, size)
        return held

    def _sync(self, held: Held, offset: int) -> None:
        os.fsync(held.file)
        at = self._store.set_synced(held.upload.name, offset)
        held.offset = offset
        held.upload = replace(held.upload, synced=offset, suspect_from=None, touched_at=at)

    async def settle(self, held: Held, offset: int) -> None:
        """Make the first ``offset`` bytes durable and forget any beyond; nothing may interrupt this."""

        def settle() -> None:
            if os.fstat(held.file).st_size > offset:
                os.ftruncate(held.file, offset)
            self._sync(held, offset)

        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(settle)

    async def suspect(self, held: Held) -> None:
        """Let bytes from here on count only once ``settle`` says so."""
        await to_thread.run_sync(self._store.set_suspect, held.upload.name, held.offset)

    async def set_length(self, held: Held, length: int) -> None:
        """Settle a deferred length."""
        await to_thread.run_sync(self._store.set_length, held.upload.name, length)
        held.upload = replace(held.upload, length=length)

    async def remove(self, upload: Upload) -> None:
        """Forget an upload's bytes; whoever writes to it is interrupted first."""
        if upload.kind == "final":
            await to_thread.run_sync(self._remove, upload)
            return
        async with self.hold(upload):
            await to_thread.run_sync(self._remove, upload)

    def _remove(self, upload: Upload) -> None:
        self._store.set_gone(upload.name)
        self.path(upload.name).unlink(missing_ok=True)
        for position in range(len(self._store.members(upload.name))):
            self.member_path(upload.name, position).unlink(missing_ok=True)
