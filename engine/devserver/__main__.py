"""``python -m engine.devserver``: run the service from a shell."""

import argparse
import sys
from pathlib import Path

from .config import Config
from .errors import SetupError
from .server import serve


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.devserver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port")
    parser.add_argument("--data", type=Path, required=True, help="folder for all state")
    parser.add_argument("--key-file", type=Path, help="lines of KEY or NAME:KEY, readable by you alone")
    parser.add_argument(
        "--keys-from-stdin", action="store_true", help="the first line of stdin is a key; its end is ours"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the parent process is gone")
    parser.add_argument("--announce", choices=["json"], help="tell the endpoint on stdout once listening")
    parser.add_argument("--no-access-log", action="store_true", help="do not log requests")
    parser.add_argument("--no-transcriber", action="store_true", help="leave jobs processing")
    parser.add_argument("--uploads-per-minute", type=int, default=5, help="limit of POST /v1/upload a key")
    parser.add_argument("--status-interval", type=float, default=5.0, help="seconds between status calls a job")
    parser.add_argument("--connections", type=int, default=1000, help="most connections at once")
    parser.add_argument("--requests-at-once", type=int, default=128, help="most requests of a key under way")
    parser.add_argument("--upload-files", type=int, default=4096, help="most files of a key's uploads that are no job")
    parser.add_argument("--head-timeout", type=float, default=30.0, help="seconds for the head of a request")
    parser.add_argument("--idle-timeout", type=float, default=120.0, help="seconds without a byte that end a body")
    parser.add_argument("--transcription-limit", type=float, default=43_200.0, help="seconds for one transcription")
    return parser


def main() -> int:
    """Run the service; returns the exit status."""
    options = _parser().parse_args()
    config = Config(
        data=options.data,
        host=options.host,
        port=options.port,
        key_file=options.key_file,
        keys_from_stdin=options.keys_from_stdin,
        exit_with_parent=options.exit_with_parent,
        announce=options.announce is not None,
        access_log=not options.no_access_log,
        transcribe=not options.no_transcriber,
        uploads_per_window=options.uploads_per_minute,
        status_interval_s=options.status_interval,
        connections=options.connections,
        requests_at_once=options.requests_at_once,
        upload_files_max=options.upload_files,
        head_timeout_s=options.head_timeout,
        idle_timeout_s=options.idle_timeout,
        transcription_s=options.transcription_limit,
    )
    try:
        serve(config)
    except SetupError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
