"""What happens around every request: who calls, what is logged, which method is meant."""

import logging
import time
import weakref
from collections import Counter
from http import HTTPStatus

import anyio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .connection import show_key
from .keys import Keyring

log = logging.getLogger("speechstream.access")

OPEN_PATHS = frozenset({"/v1/openapi.json"})
_PATHS = frozenset({"/v1/upload", "/v1/status", "/v1/uploads", "/v1/uploads/", "/v1/openapi.json"})
_METHODS = frozenset({"GET", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "PUT"})
HEAD_BYTES_MAX = 64 << 10  # a final concatenation names every lane in one header
_FIELDS_MAX = 100  # what Apache and Python's own http.client take
_TARGET_BYTES_MAX = 8 << 10  # RFC 9112, section 3, recommends at least 8000
_PAUSE_S = 0.05  # twenty guesses a second at a key of 192 random bits
_OVERRIDES = frozenset({"HEAD", "PATCH", "DELETE"})


class HeadMiddleware:
    """Refuses heads that nobody needs: too long, too many fields, or two ideas of where the body ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        refusal = _head_refused(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)


def _head_refused(scope: Scope) -> JSONResponse | None:
    fields: list[tuple[bytes, bytes]] = scope["headers"]
    if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > _TARGET_BYTES_MAX:
        return JSONResponse({"message": f"the address is longer than {_TARGET_BYTES_MAX} bytes"}, 414)
    if len(fields) > _FIELDS_MAX or sum(len(name) + len(value) for name, value in fields) > HEAD_BYTES_MAX:
        message = f"a request may have {_FIELDS_MAX} header fields and {HEAD_BYTES_MAX} bytes of them"
        return JSONResponse({"message": message}, 431)
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in fields}:
        # RFC 9112, section 6.3: "ought to be handled as an error", as it is how requests are smuggled
        return JSONResponse({"message": "Content-Length and Transfer-Encoding exclude each other"}, 400)
    return None


class AccountMiddleware:
    """Lets in who shows a known key, and says as whom in ``scope["account"]``.

    Wrong keys of one address are answered one after the other, ``_PAUSE_S`` each: guessing is slow, and nobody who
    has a key waits. One account has at most ``most_at_once`` requests under way.
    """

    def __init__(self, app: ASGIApp, *, keyring: Keyring, most_at_once: int) -> None:
        self._app = app
        self._keyring = keyring
        self._most_at_once = most_at_once
        self._at_work: Counter[str] = Counter()
        self._pauses: weakref.WeakValueDictionary[str, anyio.Lock] = weakref.WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        account = self._keyring.account(key.strip()) if scheme.lower() == "bearer" else None
        if account is None:
            await self._pause(scope)
            await _UNKNOWN(scope, receive, send)
            return
        show_key(scope)
        if self._at_work[account] >= self._most_at_once:
            await _BUSY(scope, receive, send)
            return
        scope["account"] = account
        self._at_work[account] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._at_work[account] -= 1

    async def _pause(self, scope: Scope) -> None:
        address = (scope.get("client") or ("",))[0]
        turn = self._pauses.setdefault(address, anyio.Lock())
        async with turn:
            await anyio.sleep(_PAUSE_S)


_UNKNOWN = JSONResponse(
    {"message": "the API key is missing or unknown"},
    HTTPStatus.UNAUTHORIZED,
    {"WWW-Authenticate": 'Bearer realm="speechstream"'},
)
_BUSY = JSONResponse(
    {"message": "too many requests at once"},
    HTTPStatus.TOO_MANY_REQUESTS,
    {"Retry-After": "1"},
)


class MethodMiddleware:
    """Honours ``X-HTTP-Method-Override`` for clients behind proxies that know only GET and POST (tus, "Headers")."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith("/v1/uploads"):
            meant = Headers(scope=scope).get("x-http-method-override", "").upper()
            if meant in _OVERRIDES:
                # A copy: how the answer is framed follows from the method on the wire.
                scope = {**scope, "method": meant}
        await self._app(scope, receive, send)


class LogMiddleware:
    """Logs one line a request, free of ids, keys and query strings."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "(other method)"
        try:
            await self._app(scope, receive, note)
        finally:
            log.info("%s %s %d %.0f ms", method, route_of(scope["path"]), status, (time.perf_counter() - began) * 1e3)


def route_of(path: str) -> str:
    """The path with what is secret or made up by a stranger left out."""
    if path in _PATHS:
        return path
    return "/v1/uploads/{id}" if path.startswith("/v1/uploads/") else "(no such path)"
