"""The service as an ASGI application."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .access import AccountMiddleware, HeadMiddleware, LogMiddleware, MethodMiddleware
from .body import Bodies, BodyMiddleware
from .config import Config
from .documented import Documented
from .errors import Refusal
from .folder import Folder
from .jobs import Jobs
from .keys import Keyring
from .openapi import describe
from .single import Single
from .store import Store
from .submit import Submit
from .sweep import sweep_for_ever
from .transcribe import transcribe_for_ever
from .tus import Tus
from .uploads import Uploads

_TUS_METHODS = ["POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "GET", "PUT"]


def keyring_of(config: Config) -> Keyring:
    """The keys a config names, or a new one, told once on stderr.

    Raises:
        SetupError: A key or the key file is not usable.
    """
    keyring = Keyring(())
    if config.key_file is not None:
        keyring += Keyring.read(config.key_file)
    if config.keys:
        keyring += Keyring.parse(config.keys, source="the keys given")
    if keyring.entries:
        return keyring
    keyring, key = Keyring.generate()
    sys.stderr.write(f"API key of this run, shown once: {key}\n")
    return keyring


async def _refused(_: Request, refusal: Exception) -> Response:
    if not isinstance(refusal, Refusal):
        raise refusal
    return JSONResponse({"message": refusal.message} | refusal.extra, refusal.status, refusal.headers)


async def _failed(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)


def _version() -> str:
    try:
        return version("speechstream")
    except PackageNotFoundError:
        return "0"


def create_app(config: Config) -> Starlette:
    """Build the service; it opens its data folder at once and closes it when the application ends.

    Before shutting down call ``app.state.bodies.stop()``, which ends every running upload where it is. An
    application that never runs is closed by ``app.state.close()``.

    Raises:
        SetupError: The keys, the data folder or the database are not usable.
    """
    folder = Folder(config.data)
    folder.make()
    store = Store(folder.database)
    uploads = Uploads(folder.uploads, store, files_max=config.upload_files_max)
    jobs = Jobs(folder, store)
    bodies = Bodies()
    tus = Tus(config, store, uploads)
    single = Single(folder.incoming, jobs, config.max_upload_bytes)
    documented = Documented(config, jobs, single, Submit(store, uploads, jobs))
    description = describe(_version())

    async def openapi(_: Request) -> Response:
        return JSONResponse(description)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sweep_for_ever, config, folder, store, uploads)
            if config.transcribe:
                tasks.start_soon(transcribe_for_ever, folder, jobs, config.transcription_s)
            yield
            tasks.cancel_scope.cancel()
        store.close()

    middleware = [
        *([Middleware(LogMiddleware)] if config.access_log else []),
        Middleware(BodyMiddleware, bodies=bodies, idle_timeout_s=config.idle_timeout_s),
        Middleware(HeadMiddleware),
        Middleware(MethodMiddleware),
        Middleware(AccountMiddleware, keyring=keyring_of(config), most_at_once=config.requests_at_once),
    ]
    app = Starlette(
        routes=[
            Route("/v1/upload", documented.upload, methods=["POST"]),
            Route("/v1/status", documented.status, methods=["GET"]),
            Route("/v1/openapi.json", openapi, methods=["GET"]),
            Route("/v1/uploads", tus.collection, methods=_TUS_METHODS),
            Route("/v1/uploads/", tus.collection, methods=_TUS_METHODS),
            Route("/v1/uploads/{upload_id}", tus.upload, methods=_TUS_METHODS),
        ],
        middleware=middleware,
        exception_handlers={Refusal: _refused, HTTPException: _failed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.bodies = bodies
    app.state.close = store.close
    return app
