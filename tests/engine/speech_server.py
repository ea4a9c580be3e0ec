"""A SpeechStream service in memory: the tus server, and the calls that turn what it holds into jobs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import httpx
import xxhash

from tests.engine.tus_server import Killed, TusServer


@dataclass
class SpeechServer(TusServer):
    """Makes jobs, and keeps everything that a client said to have one made.

    Attributes:
        jobs: what each job was made of, by processing_id.
        said: the Idempotency-Keys of all calls that could make a job.
        whole_singles: how many single requests were received to their last byte.
    """

    jobs: dict[str, bytes] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    whole_singles: int = 0
    _answered: dict[str, str] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve one request, unless it is struck."""
        path = request.url.path
        if path == "/v1/status":
            return await self._struck("STATUS", request)
        if path == "/v1/upload":
            form = request.headers["content-type"].startswith("multipart/")
            return await self._struck("SINGLE" if form else "SUBMIT", request)
        return await super().handle_async_request(request)

    async def _struck(self, kind: str, request: httpx.Request) -> httpx.Response:
        number = len(self.seen)
        self.seen.append(kind)
        blow = self.strike(number, kind)
        if blow is not None and blow.isdigit():
            await request.aread()
            return _json(int(blow), {"error": "struck"})
        if blow == "cut" and kind == "SINGLE":
            assert isinstance(request.stream, httpx.AsyncByteStream)
            async for _ in request.stream:
                raise httpx.ReadError("reset")
        body = await request.aread()
        reply = self._answer_to(kind, request, body)
        if blow in {"unanswered", "cut"}:
            raise httpx.RemoteProtocolError("closed without an answer")
        if blow == "killed":
            raise Killed
        return reply

    def _answer_to(self, kind: str, request: httpx.Request, body: bytes) -> httpx.Response:
        match kind:
            case "STATUS":
                known = request.url.params["processing_id"] in self.jobs
                return _json(200, {"status": "completed", "transcription": "said"}) if known else _json(404, {})
            case "SINGLE":
                self.whole_singles += 1
                self.said.append(request.headers["idempotency-key"])
                content = re.split(rb"\r\n\r\n", body, maxsplit=1)[1].rpartition(b"\r\n--")[0]
                return self._job(f"job-{self.whole_singles}", content)
        return self._submitted(request, json.loads(body))

    def _submitted(self, request: httpx.Request, document: dict[str, object]) -> httpx.Response:
        key = request.headers["idempotency-key"]
        self.said.append(key)
        if key in self._answered:
            return _json(200, {"processing_id": self._answered[key]})
        upload = self.uploads.get(httpx.URL(str(document["upload"])).path)
        if upload is None or upload.partial:
            return _json(404, {"error": "no such upload"})
        if not upload.complete:
            return _json(409, {"error": "incomplete"}, **{"Upload-Offset": str(len(upload.content))})
        size, parts = document["part_size"], document["parts"]
        assert isinstance(size, int)
        assert isinstance(parts, list)
        held = [upload.content[start : start + size] for start in range(0, len(upload.content), size)]
        bad = [index for index, part in enumerate(held) if xxhash.xxh3_128_hexdigest(part) != parts[index]]
        if bad:
            return _json(422, {"error": "digest_mismatch", "bad_parts": bad})
        self._answered[key] = f"job-{len(self.jobs) + 1}"
        return self._job(self._answered[key], bytes(upload.content))

    def _job(self, name: str, content: bytes) -> httpx.Response:
        self.jobs[name] = content
        return _json(200, {"processing_id": name})


def _json(status: int, document: dict[str, object], **headers: str) -> httpx.Response:
    body = httpx.ByteStream(json.dumps(document).encode())
    return httpx.Response(status, headers={"Content-Type": "application/json", **headers}, stream=body)
