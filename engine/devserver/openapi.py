"""The OpenAPI 3.1 description of the service, from which ``/v1/openapi.json`` is served."""

from collections.abc import Mapping

Json = dict[str, object]

_STRING: Json = {"type": "string"}
_BYTES: Json = {"type": "integer", "minimum": 0}
_DIGEST: Json = {"type": "string", "pattern": "^[0-9a-f]{32}$"}


def _object(required: str, /, **properties: Json) -> Json:
    return {"type": "object", "required": required.split(), "properties": properties}


_SCHEMAS: Json = {
    "Accepted": _object("processing_id", processing_id=_STRING) | {"additionalProperties": False},
    "Status": _object(
        "status transcription message",
        status={"enum": ["processing", "completed", "failed"]},
        transcription={"type": ["string", "null"]},
        message={"type": ["string", "null"]},
    )
    | {"additionalProperties": False},
    "Message": _object(
        "message",
        message=_STRING,
        code={
            "enum": [
                "bad_partials",
                "digest_mismatch",
                "idempotency_key_reused",
                "size_mismatch",
                "too_many_uploads",
            ]
        },
        bad_parts={"type": "array", "items": _BYTES, "description": "indices into parts, of digest_mismatch"},
        bad_partials={"type": "array", "items": _BYTES, "description": "positions in Upload-Concat, of bad_partials"},
    )
    | {"additionalProperties": False},
    "Recording": _object("file", file={"type": "string", "contentMediaType": "application/octet-stream"}),
    "Submission": _object(
        "upload size filename part_size digest parts",
        upload={"type": "string", "description": "URL of a complete upload of the same account"},
        size=_BYTES,
        filename={"type": "string", "minLength": 1, "maxLength": 1024},
        part_size={"type": "integer", "minimum": 1},
        digest=_object("algorithm value", algorithm={"const": "xxh3-128-parts"}, value=_DIGEST),
        parts={"type": "array", "items": _DIGEST},
    ),
}

_STATUSES: Mapping[int, str] = {
    200: "done",
    201: "created",
    204: "done",
    400: "malformed",
    401: "no or unknown key",
    403: "not for a final upload",
    404: "no such thing of yours",
    405: "not for this resource",
    408: "the body did not arrive",
    409: "stands at another offset, see Upload-Offset",
    410: "terminated or expired",
    412: "another version of tus",
    413: "too long",
    414: "the address is too long",
    415: "wrong Content-Type",
    422: "not what was announced, see code",
    423: "at work elsewhere, ask again",
    429: "too often or too much at once, see Retry-After",
    431: "too many or too long header fields",
    460: "checksum mismatch",
    503: "stopping, or too many connections",
    507: "disk full, or too many uploads, see code",
}


_ANY_CALL = (400, 414, 429, 431, 503)


def _parameter(name: str, place: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _header(name: str, schema: Json, *, required: bool = False) -> Json:
    return _parameter(name, "header", schema, required=required)


def _pattern(pattern: str) -> Json:
    return _STRING | {"pattern": pattern}


def _reference(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _reference(schema)}}


def _told(status: int) -> Json:
    """The headers that come with a status."""
    match status:
        case 401:
            names = ["WWW-Authenticate"]
        case 409:
            names = ["Upload-Offset"]
        case 412:
            names = ["Tus-Version"]
        case 429:
            names = ["Retry-After"]
        case _:
            names = []
    return {name: {"schema": _STRING, "required": True} for name in names}


def _responses(good: int, errors: str, schema: str | None = None, headers: str = "") -> Json:
    """One success and the errors, which all say ``{"message": ...}``; some can befall any call."""
    told: Json = {name: {"schema": _STRING, "required": True} for name in headers.split()}
    success: Json = {"description": _STATUSES[good], "headers": told}
    if schema is not None:
        success["content"] = _json(schema)
    replies: Json = {str(good): success}
    for status in sorted({*map(int, errors.split()), *_ANY_CALL}):
        reply: Json = {"description": _STATUSES[status], "content": _json("Message")}
        if named := _told(status):
            reply["headers"] = named
        replies[str(status)] = reply
    return replies


_KEY = _header("Idempotency-Key", _pattern(r'^("[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})$'))
_RESUMABLE = _header("Tus-Resumable", {"const": "1.0.0"}, required=True)
_CHECKSUM = _header("Upload-Checksum", _pattern("^(sha1|sha256|xxh3-128) [A-Za-z0-9+/]+={0,2}$"))
_LENGTH = _header("Upload-Length", _BYTES)
_CHUNK: Json = {"content": {"application/offset+octet-stream": {"schema": {"type": "string"}}}}
_OPTIONS: Json = {
    "operationId": "discover",
    "summary": "What this server can do (tus, OPTIONS)",
    "security": [],
    "responses": _responses(204, "", headers="Tus-Resumable Tus-Version Tus-Extension Tus-Max-Size"),
}

_UPLOAD: Json = {
    "post": {
        "operationId": "upload",
        "summary": "Turn a recording into a job: the bytes themselves, or a reference to a complete upload",
        "parameters": [_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _reference("Recording")},
                "application/json": {"schema": _reference("Submission")},
            },
        },
        "responses": _responses(200, "400 401 404 408 409 410 413 422 423 429 503 507", "Accepted"),
    }
}
_STATUS: Json = {
    "get": {
        "operationId": "status",
        "summary": "Where a job stands; at most one call in 5 s a job",
        "parameters": [_parameter("processing_id", "query", _STRING | {"minLength": 1}, required=True)],
        "responses": _responses(200, "400 401 404 429", "Status"),
    }
}
_COLLECTION: Json = {
    "options": _OPTIONS,
    "post": {
        "operationId": "create",
        "summary": "Create an upload (tus, creation and concatenation)",
        "parameters": [
            _RESUMABLE,
            _LENGTH,
            _header("Upload-Defer-Length", {"const": "1"}),
            _header("Upload-Metadata", _STRING | {"maxLength": 8192}),
            _header("Upload-Concat", _pattern("^(partial|final;.+)$")),
            _CHECKSUM,
            _KEY,
        ],
        "requestBody": _CHUNK,
        "responses": _responses(201, "400 401 405 408 412 413 415 423 460 503 507", headers="Location Tus-Resumable"),
    },
}
_RESOURCE: Json = {
    "parameters": [_parameter("upload_id", "path", _STRING, required=True)],
    "options": _OPTIONS | {"operationId": "discoverUpload"},
    "head": {
        "operationId": "offset",
        "summary": "Where an upload stands (tus, HEAD)",
        "parameters": [_RESUMABLE],
        "responses": _responses(200, "401 404 410 412 423", headers="Tus-Resumable Cache-Control"),
    },
    "patch": {
        "operationId": "append",
        "summary": "Append bytes to an upload (tus, PATCH)",
        "parameters": [_RESUMABLE, _header("Upload-Offset", _BYTES, required=True), _LENGTH, _CHECKSUM],
        "requestBody": _CHUNK,
        "responses": _responses(
            204,
            "400 401 403 404 408 409 410 412 413 415 423 460 503 507",
            headers="Tus-Resumable Upload-Offset",
        ),
    },
    "delete": {
        "operationId": "terminate",
        "summary": "Forget an upload (tus, termination)",
        "parameters": [_RESUMABLE],
        "responses": _responses(204, "401 404 410 412 423", headers="Tus-Resumable"),
    },
}
_DESCRIPTION: Json = {
    "get": {
        "operationId": "description",
        "summary": "This description",
        "security": [],
        "responses": {"200": {"description": "done", "content": {"application/json": {"schema": {"type": "object"}}}}},
    }
}


def describe(version: str) -> Json:
    """The description, as a JSON object, of the service at this version."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "SpeechStream", "version": version, "license": {"name": "MIT", "identifier": "MIT"}},
        "security": [{"key": []}],
        "paths": {
            "/v1/upload": _UPLOAD,
            "/v1/status": _STATUS,
            "/v1/uploads": _COLLECTION,
            "/v1/uploads/{upload_id}": _RESOURCE,
            "/v1/openapi.json": _DESCRIPTION,
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
