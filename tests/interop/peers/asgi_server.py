"""A tus 1.0.0 server of strangers, run by uvicorn. It imports no code of ours: another Python runs it.

    python asgi_server.py (tuspyserver|tussi) IP PORT DIR

Port 0 takes a free one. One line of JSON tells the creation URL once it listens.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

# These are installed where this script runs, never where it is type-checked.
import uvicorn


def tuspyserver(folder: Path) -> Any:
    """FastAPI with tuspyserver's router; a finished upload lies in the folder under its id."""
    from fastapi import FastAPI  # type: ignore[import-not-found]
    from tuspyserver import create_tus_router  # type: ignore[import-not-found]

    app = FastAPI()
    app.include_router(create_tus_router(prefix="files", files_dir=str(folder)))
    return app


def tussi(folder: Path) -> Any:
    """tussi's own application; a finished upload is moved to `completed`."""
    from tussi import FilesystemStorage, TUSApp  # type: ignore[import-not-found]

    return TUSApp(storage=FilesystemStorage(directory=folder / "uploads"), completed_dir=folder / "completed")


def main() -> None:
    """Listen, tell where, and serve until the process ends."""
    name, ip, port, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    app = {"tuspyserver": tuspyserver, "tussi": tussi}[name](folder)
    listener = socket.create_server((ip, port))
    endpoint = f"http://{ip}:{listener.getsockname()[1]}/files"
    print(json.dumps({"endpoint": endpoint}), flush=True)  # noqa: T201 - what it has to say
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
