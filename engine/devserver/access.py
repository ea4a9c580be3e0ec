"""What happens around every request: who calls, what is logged, which method is meant."""

import logging
import time
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .keys import Keyring

log = logging.getLogger("speechstream.access")

OPEN_PATHS = frozenset({"/v1/openapi.json"})
_PATHS = frozenset({"/v1/upload", "/v1/status", "/v1/uploads", "/v1/uploads/", "/v1/openapi.json"})
_OVERRIDES = frozenset({"HEAD", "PATCH", "DELETE"})


class AccountMiddleware:
    """Lets in who shows a known key, and says as whom in ``scope["account"]``."""

    def __init__(self, app: ASGIApp, *, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and scope["method"] != "OPTIONS":
            scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
            account = self._keyring.account(key.strip()) if scheme.lower() == "bearer" else None
            if account is None:
                refusal = JSONResponse(
                    {"message": "the API key is missing or unknown"},
                    HTTPStatus.UNAUTHORIZED,
                    {"WWW-Authenticate": 'Bearer realm="speechstream"'},
                )
                await refusal(scope, receive, send)
                return
            scope["account"] = account
        await self._app(scope, receive, send)


class MethodMiddleware:
    """Honours ``X-HTTP-Method-Override`` for clients behind proxies that know only GET and POST (tus, "Headers")."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/uploads"):
            meant = Headers(scope=scope).get("x-http-method-override", "").upper()
            if meant in _OVERRIDES:
                scope["method"] = meant
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

        method = scope["method"]
        try:
            await self._app(scope, receive, note)
        finally:
            log.info("%s %s %d %.0f ms", method, route_of(scope["path"]), status, (time.perf_counter() - began) * 1e3)


def route_of(path: str) -> str:
    """The path with what is secret or made up by a stranger left out."""
    if path in _PATHS:
        return path
    return "/v1/uploads/{id}" if path.startswith("/v1/uploads/") else "(no such path)"
