"""A real service on loopback for each test that asks for one."""

import base64
import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import xxhash

KEY = "a-key-for-tests"
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream"}
PART_BYTES = 64 << 10
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Service:
    """One server process and a client that holds its key."""

    data: Path
    options: tuple[str, ...] = ()
    key: str = KEY
    http: httpx.Client = field(init=False)
    process: "subprocess.Popen[bytes]" = field(init=False)
    tus: dict[str, str] = field(default_factory=lambda: dict(TUS))
    chunk: dict[str, str] = field(default_factory=lambda: dict(CHUNK))

    def start(self) -> "Service":
        """Start the process and wait until it listens."""
        command = [sys.executable, "-m", "engine.devserver", "--data", str(self.data), "--port", "0"]
        with (self.data.parent / "stderr").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--keys-from-stdin", "--announce", "json", *self.options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.key.encode() + b"\n")
        self.process.stdin.flush()
        endpoint = json.loads(self.process.stdout.readline())["endpoint"]
        self.http = httpx.Client(
            base_url=endpoint.removesuffix("/v1"),
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=30,
            trust_env=False,
        )
        return self

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process by a signal and return its exit status."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(timeout=20)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    @property
    def log(self) -> str:
        """What the process wrote to stderr."""
        return (self.data.parent / "stderr").read_text()

    def create(self, length: int | None = None, headers: Mapping[str, str] | None = None) -> str:
        """Create an upload and return its path; without a length it is deferred or, for a final one, derived."""
        headers = headers or {}
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        if headers.get("Upload-Concat", "").startswith("final"):
            size = {}
        reply = self.http.post("/v1/uploads", headers=TUS | size | dict(headers))
        assert reply.status_code == 201, reply.text
        return reply.headers["Location"]

    def patch(self, path: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
        """Append bytes at an offset."""
        return self.http.patch(path, headers=CHUNK | {"Upload-Offset": str(offset)} | headers, content=data)

    def head(self, path: str) -> httpx.Response:
        """Ask where an upload stands."""
        return self.http.head(path, headers=TUS)

    def offset(self, path: str) -> int:
        """Where an upload stands."""
        return int(self.head(path).headers["Upload-Offset"])

    def finished(self, data: bytes) -> str:
        """A complete upload of these bytes."""
        path = self.create(len(data))
        assert self.patch(path, 0, data).status_code == 204
        return path

    def file(self, path: str) -> Path:
        """The file behind an upload's path."""
        name = hashlib.blake2b(path.rpartition("/")[2].encode(), digest_size=32).hexdigest()
        return self.data / "uploads" / name

    def offset_unasked(self, path: str) -> int:
        """Where an upload stands on the disk, without disturbing who writes it."""
        return self.file(path).stat().st_size

    def half_sent(self, path: str, offset: int, announced: int, data: bytes, **headers: str) -> socket.socket:
        """Begin a PATCH by hand and send only some of the body it announces."""
        line = self.connect()
        head = [
            f"PATCH {path} HTTP/1.1",
            "Host: test",
            f"Authorization: Bearer {self.key}",
            f"Upload-Offset: {offset}",
            f"Content-Length: {announced}",
            *(f"{name}: {value}" for name, value in (CHUNK | headers).items()),
        ]
        line.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + data)
        return line

    def connect(self) -> socket.socket:
        """A plain connection to the service."""
        host, port = self.http.base_url.host, self.http.base_url.port
        assert port is not None
        return socket.create_connection((host, port), timeout=30)

    def by_hand(self, line: str, *fields: str, body: bytes = b"") -> bytes:
        """A request as bytes, with the key, whose connection ends with it."""
        own = ["Host: test", "Connection: close", f"Authorization: Bearer {self.key}", "Tus-Resumable: 1.0.0"]
        return "\r\n".join([line, *own, *fields]).encode() + b"\r\n\r\n" + body

    def said(self, request: bytes) -> bytes:
        """All that comes back for bytes on a connection of their own, until the service closes it."""
        answer = b""
        with self.connect() as line:
            try:
                line.sendall(request)
                while piece := line.recv(65536):
                    answer += piece
            except ConnectionError:
                pass
        return answer

    @staticmethod
    def statuses(answer: bytes) -> list[int]:
        """The status of every answer in what came back."""
        return [int(rest[:3]) for rest in answer.split(b"HTTP/1.1 ")[1:]]

    def files(self) -> list[str]:
        """Everything in the data folder but the database's own files."""
        return sorted(str(path) for path in self.data.rglob("*") if not path.name.startswith("state.db"))

    def recording(self, processing_id: str) -> bytes:
        """What the job received."""
        return (self.data / "recordings" / processing_id).read_bytes()

    def submit(self, document: object, key: str | None = None) -> httpx.Response:
        """Submit by reference."""
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        return self.http.post("/v1/upload", content=json.dumps(document), headers=headers)

    @staticmethod
    def wait_for(what: Callable[[], bool]) -> None:
        """Wait until the server has seen what was sent."""
        for _ in range(6000):
            if what():
                return
            time.sleep(0.01)
        pytest.fail("it never happened")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services that end with the test; they share one data folder unless told otherwise."""
    started: list[Service] = []

    def start(*options: str, data: Path | None = None, key: str = KEY) -> Service:
        service = Service(data or tmp_path / "data", options, key).start()
        started.append(service)
        return service

    yield start
    for service in started:
        service.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as it was, without limits and without a transcriber."""
    data = tmp_path_factory.mktemp("service") / "data"
    options = ("--no-transcriber", "--uploads-per-minute", "100000", "--status-interval", "0")
    running = Service(data, options).start()
    yield running
    assert running.end() == 0


@pytest.fixture(scope="session")
def noise() -> bytes:
    """Bytes that no two places have in common."""
    return b"".join(xxhash.xxh3_128_digest(index.to_bytes(4)) for index in range(1 << 16))


@pytest.fixture(scope="session")
def submission() -> Callable[..., dict[str, object]]:
    """Builds the JSON of a submission by reference."""

    def build(path: str, data: bytes, **changes: object) -> dict[str, object]:
        parts = [xxhash.xxh3_128_digest(data[at : at + PART_BYTES]) for at in range(0, len(data), PART_BYTES)]
        value = xxhash.xxh3_128_hexdigest(b"".join(parts))
        return {
            "upload": path,
            "size": len(data),
            "filename": "talk.ogg",
            "part_size": PART_BYTES,
            "digest": {"algorithm": "xxh3-128-parts", "value": value},
            "parts": [part.hex() for part in parts],
        } | changes

    return build


@pytest.fixture(scope="session")
def encoded() -> Callable[[bytes], str]:
    """Base64 as tus headers want it."""
    return lambda data: base64.b64encode(data).decode()
