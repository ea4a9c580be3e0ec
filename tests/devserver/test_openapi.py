"""The description is true: it names every route, and every reply is one it describes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
from starlette.routing import Route

from engine.devserver.app import create_app
from engine.devserver.config import Config
from engine.devserver.openapi import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.devserver.conftest import Service

TUS = {"Tus-Resumable": "1.0.0"}


def test_every_route_is_described(tmp_path: "Path") -> None:
    """And nothing is described that is not there."""
    app = create_app(Config(data=tmp_path, keys=("key",)))
    routes = {route.path.rstrip("/") for route in app.routes if isinstance(route, Route)}
    paths: Any = describe("1")["paths"]
    assert routes == set(paths)
    app.state.close()


def test_the_served_description_is_this_one(service: "Service") -> None:
    """It needs no key."""
    reply = service.http.get("/v1/openapi.json", headers={"Authorization": ""})
    assert reply.json()["paths"] == describe("1")["paths"]


def test_every_schema_is_valid() -> None:
    """The schemas themselves are JSON Schema 2020-12."""
    components: Any = describe("1")["components"]
    for schema in components["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def exchanges(service: "Service", submission: "Callable[..., dict[str, object]]") -> Iterator[httpx.Response]:
    """Replies of all kinds that can be had quickly."""
    http = service.http
    stranger = {"Authorization": "Bearer nobody"}
    done = http.post("/v1/upload", files={"file": b"x"})
    yield done
    yield http.post("/v1/upload", content=b"x")
    yield http.post("/v1/upload", headers=stranger)
    yield http.get("/v1/status", params=done.json() | {})
    yield http.get("/v1/status", headers=stranger)
    yield http.get("/v1/status", params={"processing_id": "none"})
    yield http.get("/v1/status")
    yield http.options("/v1/uploads")
    created = http.post("/v1/uploads", headers=TUS | {"Upload-Length": "3"})
    yield created
    path = created.headers["Location"]
    yield http.options(path)
    yield http.post("/v1/uploads", headers=TUS)
    yield http.post("/v1/uploads", headers=TUS | {"Upload-Length": str(1 << 50)})
    yield http.post("/v1/uploads", headers={"Upload-Length": "1"})
    yield service.submit(submission(path, b"abc"))
    yield service.submit(submission(path, b"abc", size=-1))
    yield service.submit(submission("/v1/uploads/none", b"abc"))
    yield service.head(path)
    yield service.patch(path, 1, b"abc")
    yield service.patch(path, 0, b"abcd")
    yield service.patch(path, 0, b"ab", **{"Content-Type": "text/plain"})
    yield service.patch(path, 0, b"ab", **{"Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="})
    yield service.patch(path, 0, b"abd")
    yield service.submit(submission(path, b"abc"))
    lane = service.create(0, {"Upload-Concat": "partial"})
    yield service.patch(service.create(None, {"Upload-Concat": f"final;{lane}"}), 0, b"x")
    yield http.delete(path, headers=TUS)
    yield http.delete(path, headers=TUS)
    yield service.head(path)
    yield service.submit(submission(path, b"abc"))


def test_every_reply_is_described(service: "Service", submission: "Callable[..., dict[str, object]]") -> None:
    """Its status is listed, its body fits the schema, and the promised headers are there."""
    description: Any = describe("1")
    seen: set[int] = set()
    for reply in exchanges(service, submission):
        path = reply.request.url.path
        route = "/v1/uploads/{upload_id}" if path.startswith("/v1/uploads/") else path
        operation = description["paths"][route][reply.request.method.lower()]
        described = operation["responses"][str(reply.status_code)]
        seen.add(reply.status_code)
        for name in described.get("headers", {}):
            assert name in reply.headers, f"{reply.request.method} {route} {reply.status_code} lacks {name}"
        if "content" in described and reply.request.method != "HEAD":
            schema = described["content"]["application/json"]["schema"]
            jsonschema.validate(reply.json(), schema | {"components": description["components"]})
    assert seen >= {200, 201, 204, 400, 401, 403, 404, 409, 410, 412, 413, 415, 422, 460}
