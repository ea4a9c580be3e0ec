"""Runs one command: logging, progress, and what an error becomes for a person and the shell."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ..errors import ExitCode, OutputError, RecordingError, SpeechStreamError, UserError
from ..redaction import scrub

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..client import Client
    from ..events import Event
    from ..progress import Renderer
    from .options import Common

T = TypeVar("T")
_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


class Reported(Exception):
    """Errors were already told, one by one; only the exit code is left."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


class ReaderLeft(Exception):
    """Whoever read our stdout has seen enough, as `head` does. Ends the command, and is no failure."""


def run(options: Common, work: Callable[[Client], Awaitable[T]]) -> T:
    """Open a client as the options say, show its progress, and run `work` with it.

    Raises:
        SpeechStreamError: as `work`.
    """
    from ..client import Client

    async def main(emit: Callable[[Event], None]) -> T:
        client = Client(
            endpoint=options.endpoint,
            local=options.local,
            recipe=options.recipe,
            track=options.track,
            wire=options.wire,
            checksum=options.checksum,
            max_lanes=options.max_lanes,
            congestion=options.congestion,
            request_bytes=options.request_bytes,
            repeat_ambiguous=options.on_ambiguous == "retry",
            fallback=not options.no_fallback,
            retry_for_s=options.retry_for_s,
            limit_bytes_s=options.limit_bytes_s,
            polite=options.polite,
            new=options.new,
        )
        client.listen(emit)
        async with client:
            return await work(client)

    return with_events(options, main)


def with_events(options: Common, work: Callable[[Callable[[Event], None]], Awaitable[T]]) -> T:
    """Run `work`, which is given where to tell what happens meanwhile, and show that as the options say.

    Raises:
        SpeechStreamError: as `work`.
    """
    from ..progress import make
    from .signals import run_until_signalled

    log_to_stderr(options.verbose)
    renderer = make(options.progress)
    try:
        return run_until_signalled(lambda: work(_while_anyone_looks(renderer)))
    except BaseExceptionGroup as group:
        raise _only(group) from None
    finally:
        with contextlib.suppress(OSError):
            renderer.close()


def _while_anyone_looks(renderer: Renderer) -> Callable[[Event], None]:
    """The renderer, until its stream breaks: an upload must not end because nobody watches it."""
    watched = True

    def show(event: Event) -> None:
        nonlocal watched
        if watched:
            try:
                renderer(event)
            except OSError:
                watched = False

    return show


def as_json() -> bool:
    """Whether errors are told in JSON too; known before the options are parsed, as parsing may fail."""
    return "--json" in sys.argv[1:]


def log_to_stderr(verbose: int) -> None:
    """Log our own messages to stderr, secrets removed whatever wrote them."""

    class Scrubbed(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return scrub(super().format(record))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Scrubbed("%(asctime)s %(name)s: %(message)s"))
    logger = logging.getLogger("speechstream")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(_LEVELS[min(verbose, len(_LEVELS) - 1)])


def require_stderr() -> None:
    """Put /dev/null where stderr was closed (`2>&-`): no file opened later may get its number and our words."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it stays open as long as we run


def let_go_of_stderr() -> None:
    """Drop what stderr's reader did not stay for: at its end the interpreter would answer 120 for it."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def exit_code_of(error: BaseException) -> int:  # noqa: C901, PLR0911 - one arm for each way a command can end
    """Tell the error as it deserves and give its exit code."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(ExitCode.OURS)
        case click.exceptions.Exit():
            return error.exit_code
        case Reported():
            return int(error.code)
        case click.ClickException() if not as_json():
            error.show()
            return int(ExitCode.USER)
        case click.ClickException():
            tell_error(UserError(error.format_message(), hint="speechstream --help"))
            return int(ExitCode.USER)
        case KeyboardInterrupt() | click.Abort() if as_json():
            _to_stderr(json.dumps({"error": "Interrupted", "message": "stopped; nothing is lost"}))
            return int(ExitCode.INTERRUPTED)
        case KeyboardInterrupt() | click.Abort():
            tell("stopped; nothing is lost", hint="the same command again goes on, as does `speechstream resume`")
            return int(ExitCode.INTERRUPTED)
        case SpeechStreamError():
            tell_error(error)
            return int(error.exit_code)
        case OSError(errno=errno.ENOSPC):
            _forget_stdout()
            tell_error(
                OutputError("There is no space left where the output goes", hint="free some, or send it elsewhere")
            )
            return int(ExitCode.USER)
        case ReaderLeft():
            _forget_stdout()
            return int(ExitCode.OK)
    return _ours(error)


def _forget_stdout() -> None:
    """What is still buffered for it must not fail once more when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell_error(error: SpeechStreamError, about: str | None = None) -> None:
    """Write an error to stderr: a sentence and a hint, or one JSON object."""
    if as_json():
        fields: dict[str, Any] = {"error": error.kind, "message": error.message, "hint": error.hint, "about": about}
        fields["reason"] = error.reason if isinstance(error, RecordingError) else None
        _to_stderr(scrub(json.dumps({name: value for name, value in fields.items() if value is not None})))
        return
    tell(f"{about}: {error.message}" if about else error.message, hint=error.hint, label="error")


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it, and there is nobody else to tell
        click.echo(text, err=True, color=None)


def tell(message: str, *, hint: str | None = None, label: str | None = None) -> None:
    """Write a sentence to stderr, and after an empty line what to do about it."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    head = f"{click.style(label, fg='red', bold=True) if colour else label}: " if label else ""
    _to_stderr(f"{head}{scrub(message)}")
    if hint:
        name = click.style("hint", fg="cyan", bold=True) if colour else "hint"
        _to_stderr(f"\n{name}: {scrub(hint)}")


def tell_fault(error: BaseException) -> None:
    """Write the trace of an error nobody meant to raise, secrets removed, as a report needs it."""
    import traceback

    _to_stderr(scrub("".join(traceback.format_exception(error))))


def _ours(error: BaseException) -> int:
    tell_fault(error)
    tell(
        f"this is a fault in speechstream: {type(error).__name__}",
        hint="nothing is lost; please report the lines above, then try `speechstream resume`",
        label="error",
    )
    return int(ExitCode.OURS)


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error a task group wrapped, when it is one; KeyboardInterrupt before all."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        interrupts = found.subgroup(KeyboardInterrupt)
        found = (interrupts or found).exceptions[0]
    return found
