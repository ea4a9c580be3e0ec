"""Tus servers that nobody here wrote, as processes that can be killed and come back over the same folder."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx

from tests.interop.programs import ROOT, without_proxies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_STARTING_S = 20.0
_STOPPING_S = 20.0
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/replies;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size {body_max};
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_request_buffering {buffering};
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""


@dataclass(slots=True)
class StrangersServer:
    """One server over `folder`; it runs while its `with` block does, on another port after each start.

    Attributes:
        command: the words that start it, without folder: `{ip}`, `{port}` and `{folder}` are filled in.
        finished: where in the folder the bytes of a finished upload lie, by the last segment of its URL.
    """

    command: Sequence[str]
    folder: Path
    finished: str
    endpoint: httpx.URL = field(default_factory=httpx.URL, init=False)
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def port(self) -> int:
        """Where it listens now."""
        return self.endpoint.port or 0

    def start(self) -> None:
        """Start the process and wait until it says where it listens."""
        words = [word.format(ip="127.0.0.1", port=0, folder=self.folder) for word in self.command]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=without_proxies())
        assert self._process.stdout is not None
        self.endpoint = httpx.URL(json.loads(self._process.stdout.readline())["endpoint"])

    def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def content(self, upload_url: str) -> bytes:
        """The bytes of a finished upload."""
        return (self.folder / self.finished.format(id=upload_url.rpartition("/")[2])).read_bytes()

    def uploads(self) -> int:
        """How many finished uploads there are."""
        return sum(1 for _ in (self.folder / self.finished).parent.glob("*"))


class Nginx:
    """An nginx in front of a port of this machine, while its `with` block runs.

    It can only be told its port, not asked for one: where another test was quicker it is given the next.
    """

    def __init__(self, binary: str, folder: Path, upstream: int, *, buffering: bool, body_max: str = "0") -> None:
        self._folder = folder
        self._binary = binary
        self._settings = {"upstream": upstream, "buffering": "on" if buffering else "off", "body_max": body_max}
        self.port = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        until = time.monotonic() + _STARTING_S
        while time.monotonic() < until:
            self.port = _free_port()
            configuration = self._folder / "nginx.conf"
            configuration.write_text(_NGINX.format(folder=self._folder, port=self.port, **self._settings))
            log = str(self._folder / "error.log")
            self._process = subprocess.Popen(
                [self._binary, "-p", str(self._folder), "-c", str(configuration), "-e", log]
            )
            if self._listens(until):
                return self
        raise TimeoutError((self._folder / "error.log").read_text())

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(_STOPPING_S)

    def _listens(self, until: float) -> bool:
        while self._process.poll() is None and time.monotonic() < until:
            if (self._folder / "nginx.pid").exists():  # written once the sockets are open
                return True
            time.sleep(0.01)
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
