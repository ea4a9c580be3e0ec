"""Resumable uploads: tus 1.0.0 with all its extensions but checksum-trailer (https://tus.io/protocols/resumable-upload)."""

from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import concat
from .append import CHECKSUM_MISMATCH, Mismatch, append
from .body import body_of
from .config import Config
from .creations import Creation, unsealed
from .errors import Refusal
from .headers import CHECKSUMS, bad, checksum, deferred, metadata, number
from .jobs import idempotency_key
from .store import Store, Upload
from .uploads import Held, Uploads, name_of, new_id
from .writing import no_space, room, too_long

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "concatenation",
    "concatenation-unfinished",
    "termination",
    "expiration",
)
CHUNK_TYPE = "application/offset+octet-stream"
_Endpoint = Callable[[Request], Awaitable[Response]]


class Tus:
    """The endpoints ``/v1/uploads`` and ``/v1/uploads/{id}``."""

    def __init__(self, config: Config, store: Store, uploads: Uploads) -> None:
        self._config = config
        self._store = store
        self._uploads = uploads

    async def collection(self, request: Request) -> Response:
        """Answer a call of ``/v1/uploads``."""
        return await self._speak(request, {"POST": self._create})

    async def upload(self, request: Request) -> Response:
        """Answer a call of ``/v1/uploads/{id}``."""
        return await self._speak(request, {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._terminate})

    async def _speak(self, request: Request, methods: dict[str, _Endpoint]) -> Response:
        """Check the version, and answer with it whatever happens."""
        if request.method == "OPTIONS":
            return self._options()
        own = {"Tus-Resumable": VERSION}
        try:
            response = await _spoken_to(request, methods)(request)
        except Refusal as refusal:
            refusal.headers.update(own)
            raise
        except Mismatch:
            reply = {"message": "the checksum is another; nothing was kept of these bytes"}
            return JSONResponse(reply, CHECKSUM_MISMATCH, headers=own)
        response.headers.update(own)
        return response

    def _options(self) -> Response:
        headers = {
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": ",".join(EXTENSIONS),
            "Tus-Max-Size": str(self._config.max_upload_bytes),
            "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
        }
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    async def _create(self, request: Request) -> Response:
        upload_id = new_id()
        upload = self._described(request, upload_id)
        body = body_of(request.scope)
        chunk = body.length or body.end is None
        if chunk and (upload.kind == "final" or request.headers.get("Content-Type") != CHUNK_TYPE):
            message = f"a body here is the upload's first bytes, as {CHUNK_TYPE}; a final upload has none"
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
        if chunk:
            upload = await self._uploads.create(upload)
            told = {"Upload-Offset": str(await self._first_bytes(request, upload))}
            return self._created(request, upload, upload_id, told)
        concat_header = request.headers.get("Upload-Concat", "")
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        creation = None if key is None else Creation.of(upload, upload_id, key, concat_header)
        earlier = None if creation is None else await to_thread.run_sync(self._store.created, creation.request)
        if earlier is None:
            made = await self._make(upload, creation, concat_header)
            if made.name == upload.name:
                return self._created(request, made, upload_id, {})
            earlier = None if creation is None else await to_thread.run_sync(self._store.created, creation.request)
        if earlier is None or key is None:
            raise Refusal(HTTPStatus.GONE, "this upload was terminated or has expired")
        known, sealed = earlier
        return self._created(request, known, unsealed(sealed, key), {"Idempotent-Replayed": "true"})

    async def _make(self, upload: Upload, creation: Creation | None, concat_header: str) -> Upload:
        if upload.kind != "final":
            return await self._uploads.create(upload, creation)
        members = concat.member_ids(concat_header)
        limit = self._config.max_upload_bytes
        return await to_thread.run_sync(
            concat.create_final, self._uploads, self._store, upload, members, creation, limit
        )

    def _created(self, request: Request, upload: Upload, upload_id: str, told: dict[str, str]) -> Response:
        # aiotus 1.1.0 only joins paths: it cannot follow a Location that begins with a slash.
        beside = request.url.path == concat.PREFIX
        location = upload_id if beside else f"{concat.PREFIX}{upload_id}"
        headers = {"Location": location} | told | self._expiry(upload)
        return Response(status_code=HTTPStatus.CREATED, headers=headers)

    def _described(self, request: Request, upload_id: str) -> Upload:
        """Read what is to be created from the headers of a POST."""
        headers = request.headers
        kind = headers.get("Upload-Concat", "plain").partition(";")[0]
        if kind not in {"plain", "partial", "final"}:
            raise bad("Upload-Concat is neither partial nor final")
        length = number(headers, "Upload-Length")
        if kind == "final" and (length is not None or deferred(headers)):
            raise bad("a final upload's length is that of its parts")
        if kind != "final" and (length is None) is not deferred(headers):
            raise bad("exactly one of Upload-Length and Upload-Defer-Length is needed")
        self._check_room(length or 0)
        return Upload(
            name=name_of(upload_id),
            account=request.scope["account"],
            length=length,
            metadata=metadata(headers),
            kind=kind,
            concat=concat.seal(headers["Upload-Concat"], upload_id) if kind == "final" else None,
        )

    def _check_room(self, length: int) -> None:
        if length > self._config.max_upload_bytes:
            raise too_long(self._config.max_upload_bytes)
        if length > room(self._config.data):
            raise no_space()

    async def _first_bytes(self, request: Request, upload: Upload) -> int:
        """Take the body of a creation; when it does not arrive whole, nobody learns the URL, so drop it."""
        body = body_of(request.scope)
        try:
            async with self._uploads.hold(upload, body) as held:
                await append(self._uploads, held, body, self._limit(upload), checksum(request.headers))
                return held.offset
        except (Refusal, Mismatch):
            await self._uploads.remove(upload)
            raise

    async def _head(self, request: Request) -> Response:
        upload_id: str = request.path_params["upload_id"]
        upload = await self._uploads.find(request.scope["account"], upload_id)
        headers = {"Cache-Control": "no-store"}
        if upload.kind == "final":
            upload = await to_thread.run_sync(concat.finish, self._store, upload)
            headers["Upload-Concat"] = concat.unseal(upload.concat or b"", upload_id)
            if upload.complete:
                headers["Upload-Offset"] = str(upload.length)
        else:
            async with self._uploads.hold(upload) as held:
                upload = held.upload
                headers["Upload-Offset"] = str(held.offset)
            if upload.kind == "partial":
                headers["Upload-Concat"] = "partial"
        if upload.length is not None:
            headers["Upload-Length"] = str(upload.length)
        elif upload.kind != "final":
            headers["Upload-Defer-Length"] = "1"
        if upload.metadata:
            headers["Upload-Metadata"] = upload.metadata
        return Response(status_code=HTTPStatus.OK, headers=headers | self._expiry(upload))

    async def _patch(self, request: Request) -> Response:
        upload = await self._uploads.find(request.scope["account"], request.path_params["upload_id"])
        if upload.kind == "final":
            raise Refusal(HTTPStatus.FORBIDDEN, "a final upload takes no bytes of its own")
        if request.headers.get("Content-Type") != CHUNK_TYPE:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the Content-Type of a PATCH is {CHUNK_TYPE}")
        offset = number(request.headers, "Upload-Offset")
        if offset is None:
            raise bad("Upload-Offset is missing")
        expected = checksum(request.headers)
        body = body_of(request.scope)
        async with self._uploads.hold(upload, body) as held:
            if offset != held.offset:
                told = {"Upload-Offset": str(held.offset)}
                raise Refusal(HTTPStatus.CONFLICT, f"the upload stands at {held.offset}", headers=told)
            await self._settle_length(held, request)
            await append(self._uploads, held, body, self._limit(held.upload), expected)
            headers = {"Upload-Offset": str(held.offset)}
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers | self._expiry(held.upload))

    async def _settle_length(self, held: Held, request: Request) -> None:
        """Take the ``Upload-Length`` that a PATCH may bring to a deferred upload.

        Raises:
            Refusal: 400 when it contradicts what is known, 413 when it is too long.
        """
        length = number(request.headers, "Upload-Length")
        if length is None:
            return
        if held.upload.length not in {None, length}:
            raise bad(f"Upload-Length is {held.upload.length} and cannot change")
        if length < held.offset:
            raise bad("Upload-Length is less than what is already here")
        self._check_room(length - held.offset)
        if held.upload.length is None:
            await self._uploads.set_length(held, length)

    async def _terminate(self, request: Request) -> Response:
        upload = await self._uploads.find(request.scope["account"], request.path_params["upload_id"])
        await self._uploads.remove(upload)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _limit(self, upload: Upload) -> int:
        return self._config.max_upload_bytes if upload.length is None else upload.length

    def _expiry(self, upload: Upload) -> dict[str, str]:
        """``Upload-Expires``, which only unfinished uploads have."""
        if upload.complete or not upload.touched_at:
            return {}
        return {"Upload-Expires": formatdate(upload.touched_at + self._config.unfinished_ttl_s, usegmt=True)}


def _spoken_to(request: Request, methods: dict[str, _Endpoint]) -> _Endpoint:
    """The endpoint a request is for.

    Raises:
        Refusal: 405 for a method that is not for this resource, 412 for another version of tus.
    """
    if request.method not in methods:
        allow = {"Allow": ", ".join([*methods, "OPTIONS"])}
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not for this resource", headers=allow)
    if request.headers.get("Tus-Resumable") != VERSION:
        message = f"this server speaks tus {VERSION}; Tus-Resumable must say so"
        raise Refusal(HTTPStatus.PRECONDITION_FAILED, message, headers={"Tus-Version": VERSION})
    return methods[request.method]
