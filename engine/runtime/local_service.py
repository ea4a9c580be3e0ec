"""Runs the embedded service on loopback for as long as a command needs it.

It is a process of its own: it takes its key and its life from our end of its stdin, so it ends with us however we end.
Should it die, it is started again on the same port, and the client's ordinary patience bridges the gap.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio

from ..errors import ConfigError, InternalError
from ..redaction import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import Process, TaskStatus

LOCAL: Final = "local"  # what the manifest calls the endpoint, whose port differs from run to run
START_WAIT_S: Final = 30.0
_MAX_RESTARTS: Final = 5
_STEADY_S: Final = 60.0  # having run so long, it was not its start that failed
_NEEDS: Final = ("starlette", "uvicorn", "pocketsphinx", "python_multipart")


async def run_local_service(data: Path, *, task_status: TaskStatus[tuple[str, Secret]]) -> None:
    """Run the service until cancelled. Tells its endpoint and a key of its own once it listens.

    Raises:
        ConfigError: its packages are not installed.
        InternalError: it does not start, or keeps dying.
    """
    missing = missing_packages()
    if missing:
        raise ConfigError(
            f"The local service needs packages that are not installed: {', '.join(missing)}",
            hint="pip install 'speechstream[local]'",
        )
    key = Secret(secrets.token_urlsafe(24))
    process, endpoint = await _start(data, key, port=0)
    task_status.started((endpoint, key))
    restarts, started_s = 0, anyio.current_time()
    try:
        while True:
            await process.wait()
            await process.aclose()
            restarts = restarts + 1 if anyio.current_time() - started_s < _STEADY_S else 1
            if restarts > _MAX_RESTARTS:
                raise InternalError(f"The local service ended {restarts} times in a row; its data is in {data}")
            started_s = anyio.current_time()
            process, _ = await _start(data, key, port=urlsplit(endpoint).port or 0)
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


def missing_packages() -> list[str]:
    """The packages of the extra `local` that are not installed."""
    return [name for name in _NEEDS if find_spec(name) is None]


async def _start(data: Path, key: Secret, *, port: int) -> tuple[Process, str]:
    command = [
        sys.executable, "-m", "engine.devserver", "--host", "127.0.0.1", "--port", str(port),
        "--data", str(data), "--keys-from-stdin", "--announce", "json",
    ]  # fmt: skip
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    if process.stdin is None or process.stdout is None:
        raise InternalError("the local service was started without pipes")
    line = b""
    try:
        with anyio.move_on_after(START_WAIT_S):
            await process.stdin.send(key.reveal().encode() + b"\n")
            while not line.endswith(b"\n"):
                line += await process.stdout.receive()
        endpoint = json.loads(line)["endpoint"]
    except (anyio.EndOfStream, anyio.BrokenResourceError, ValueError, KeyError) as error:
        await _end(process)
        raise InternalError(
            f"The local service did not start; its data is in {data}",
            hint="see why: `speechstream serve`",
        ) from error
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _end(process)
        raise
    return process, str(endpoint)


async def _end(process: Process) -> None:
    """Close its stdin, which asks it to stop; insist after a moment."""
    if process.returncode is None:
        if process.stdin is not None:
            await process.stdin.aclose()
        with anyio.move_on_after(3):
            await process.wait()
        if process.returncode is None:
            process.kill()
    await process.aclose()
