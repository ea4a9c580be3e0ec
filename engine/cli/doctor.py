"""`speechstream doctor`: is everything that an upload needs in order?"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Final, Literal

import click
from msgspec import Struct
from msgspec.structs import asdict

from .options import Common, common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..config import Settings

Verdict = Literal["ok", "warning", "error"]
_LOW_SPACE_BYTES: Final = 1 << 30


class Finding(Struct, frozen=True):
    """What one check found; `hint` is what to do about it."""

    check: str
    verdict: Verdict
    message: str
    hint: str | None = None


@click.command(epilog="Example: speechstream doctor")
@click.option("--repair", is_flag=True, help="Make a sound manifest of a damaged one; the damaged file is kept.")
@common("service", "output")
def doctor(options: Common, repair: bool) -> None:  # noqa: FBT001 - click's
    """Check this machine, the configuration and the service, and say what to do about each fault.

    Sends nothing but one question of what the service offers. With --repair it checks and repairs the manifest alone:
    what can be read of it is saved, and what was there is set aside and never deleted.
    """
    from ..errors import ExitCode
    from .results import print_json
    from .session import Reported, log_to_stderr

    log_to_stderr(options.verbose)
    worst = "ok"
    for finding in _repair() if repair else _findings(options):
        if options.json:
            print_json(asdict(finding))
        else:
            click.echo(f"{finding.verdict:8} {finding.check}: {finding.message}")
            if finding.hint:
                click.echo(f"{'':8} hint: {finding.hint}")
        if finding.verdict == "error":
            worst = "error"
    if worst == "error":
        raise Reported(ExitCode.USER)


def _repair() -> Iterator[Finding]:
    import time

    from .. import config
    from ..runtime.repair import repair

    folder = config.load().state_dir
    if not folder.exists():
        yield Finding("manifest", "ok", f"there is none in {folder}")
        return
    done = repair(folder, time.time())
    if done.aside is None:
        yield Finding("manifest", "ok", f"{folder}: nothing to repair, {done.jobs} jobs")
        return
    message = f"{done.jobs} jobs and {done.parts} digests of parts were saved; what was there is now {done.aside}"
    yield Finding("manifest", "ok", message, "speechstream jobs")
    for sentence in done.lost:
        yield Finding("manifest", "warning", sentence)


def _findings(options: Common) -> Iterator[Finding]:
    from .. import config
    from ..errors import SpeechStreamError

    yield _packages()
    try:
        settings = config.load()
    except SpeechStreamError as error:
        yield _failed("configuration", error)
        return
    yield Finding("configuration", "ok", f"{settings.config_path}{'' if settings.config_path.exists() else ' (none)'}")
    for name, check in (("state", _state), ("ffmpeg", _ffmpeg), ("sandbox", _sandbox)):
        yield _guarded(name, check, settings)
    if options.local:
        yield _guarded("local service", _local, settings)
        return
    endpoint = options.endpoint or settings.endpoint
    if not endpoint:
        yield Finding(
            "service", "error", "none is configured", "set SPEECHSTREAM_ENDPOINT to its address, or use --local"
        )
        return
    yield _guarded("API key", lambda found: _key(found, endpoint), settings)
    yield _guarded("service", lambda found: _service(found, endpoint), settings)


def _guarded(name: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    from ..errors import SpeechStreamError

    try:
        return check(settings)
    except SpeechStreamError as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Finding:
    return Finding(name, "error", str(error), getattr(error, "hint", None))


def _packages() -> Finding:
    """Other distributions may also bring an `engine` or `preprocess`; whichever came last overwrote the other."""
    import engine
    import preprocess

    where = os.path.commonpath([str(engine.__file__), str(preprocess.__file__)])
    python = ".".join(map(str, sys.version_info[:3]))
    if not hasattr(preprocess, "probe"):
        return Finding("packages", "error", f"another package's `preprocess` is in {where}", "install with pipx")
    return Finding("packages", "ok", f"in {where}, Python {python}")


def _state(settings: Settings) -> Finding:
    from ..core.job import FINAL
    from ..runtime.manifest import Manifest

    with Manifest(settings.state_dir) as manifest:
        manifest.check()
        counts = manifest.overview.counts()
    unfinished = sum(count for state, count in counts.items() if state not in FINAL)
    free = shutil.disk_usage(settings.state_dir).free
    message = f"{settings.state_dir}: {sum(counts.values())} jobs, {unfinished} unfinished, {free / 1e9:.1f} GB free"
    if free < _LOW_SPACE_BYTES:
        return Finding("state", "warning", message, "free some space: preparing needs room for its artifact")
    return Finding("state", "ok", message, "speechstream resume" if unfinished else None)


def _ffmpeg(_: Settings) -> Finding:
    import preprocess

    try:
        found = preprocess.find_ffmpeg()
    except preprocess.PreprocessError as error:
        return Finding("ffmpeg", "error", error.message, error.hint)
    return Finding("ffmpeg", "ok", f"{found.version} at {found.path}")


def _sandbox(_: Settings) -> Finding:
    import anyio

    import preprocess

    rest = "write no file, see no key and end with this program"
    if anyio.run(preprocess.is_isolated):
        return Finding("sandbox", "ok", f"programs that read recordings reach no network, {rest}")
    return Finding("sandbox", "ok", f"programs that read recordings {rest}; this system lets nobody leave the network")


def _key(settings: Settings, endpoint: str) -> Finding:
    from ..runtime.keys import find_key

    key = find_key(settings, endpoint)
    return Finding("API key", "ok", f"there is one ({len(key.reveal())} characters)")


def _local(settings: Settings) -> Finding:
    from ..runtime.local_service import missing_packages

    missing = missing_packages()
    if missing:
        return Finding("local service", "error", f"needs {', '.join(missing)}", "pip install 'speechstream[local]'")
    return Finding("local service", "ok", f"its data is in {settings.state_dir / 'service'}")


def _service(_: Settings, endpoint: str) -> Finding:
    import anyio

    from ..faults import Fault
    from ..runtime.clock import SystemClock
    from ..runtime.exchange import Exchanger
    from ..wire import tus
    from ..wire.address import with_path

    async def ask() -> Finding:
        exchanger = Exchanger(SystemClock(), user_agent="speechstream-doctor")
        try:
            found = await exchanger.converse(tus.discover(with_path(endpoint, "uploads")))
        except Fault as fault:
            return Finding("service", "error", fault.message, "check the address and the network")
        finally:
            await exchanger.aclose()
        if found is None:
            return Finding(
                "service", "warning", f"{endpoint} answers and takes no resumable uploads",
                "an interrupted upload begins anew there",
            )  # fmt: skip
        return Finding(
            "service", "ok", f"{endpoint} takes resumable uploads (tus: {', '.join(sorted(found.extensions))})"
        )

    return anyio.run(ask)
