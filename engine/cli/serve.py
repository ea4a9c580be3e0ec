"""`speechstream serve`: the service, on this machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from ..errors import ConfigError, UserError
from .session import log_to_stderr


@click.command(epilog="Example: speechstream serve --port 8000 --data ./speech-data")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than loopback need a --key-file.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder for all that is received; by default in the state folder."
)
@click.option("--key-file", type=click.Path(path_type=Path), help="Lines of KEY or NAME:KEY, readable by you alone.")
@click.option("--json", "as_json", is_flag=True, help="Announce the address on stdout in JSON.")
def serve(host: str, port: int, data: Path | None, key_file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Run a SpeechStream service on this machine, until interrupted.

    It takes uploads, transcribes them offline, and keeps everything under --data. Without --key-file it makes a key
    and prints it once, on stderr.
    """
    from .. import config

    log_to_stderr(0)
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise ConfigError("The local service is not installed", hint="pip install 'speechstream[local]'")
    from ..devserver.config import Config
    from ..devserver.errors import SetupError
    from ..devserver.server import serve as run_service

    folder = data if data is not None else config.load().state_dir / "service"
    try:
        run_service(Config(data=folder.absolute(), host=host, port=port, key_file=key_file, announce=as_json))
    except SetupError as error:
        raise UserError(str(error), hint="another --port or --data may help: `speechstream serve --help`") from error
