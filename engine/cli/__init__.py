"""The `speechstream` command. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from . import garbage

_INTERRUPTED: Final = 130  # ExitCode.INTERRUPTED, where nothing is imported yet
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "transcribe": ("transcribe", "Upload recordings and print their transcripts."),
    "upload": ("upload", "Upload recordings and print their processing_ids."),
    "watch": ("watch", "Upload what a recorder drops into a folder, until interrupted."),
    "send": ("send", "Deliver a file to any tus server, resumably; print the upload's URL."),
    "plan": ("plan", "Show what each recipe would make of a recording."),
    "prepare": ("prepare", "Only prepare a recording, into a file."),
    "resume": ("resume", "Go on with jobs that were interrupted."),
    "limit": ("limit", "Change how fast jobs may send, also while they do."),
    "jobs": ("jobs", "List the jobs of this machine."),
    "show": ("jobs", "Show all that is known of a job."),
    "status": ("status", "Ask the service once how a job fares."),
    "wait": ("status", "Wait for a job's transcript, by job or processing_id."),
    "verify": ("verify", "Prove that a recording still is what was sent."),
    "receipt": ("receipt", "Write down which bytes were sent."),
    "cancel": ("cancel", "Give a job up and remove its upload."),
    "serve": ("serve", "Run the service on this machine."),
    "doctor": ("doctor", "Check this machine, the configuration and the service."),
}


class LazyGroup(click.Group):
    """Lists commands without importing any: `--help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a person needs them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command = getattr(module, cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__}.{cmd_name} is no command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. A broken pipe is told apart here, as click would make exit code 1 of it.

        Raises:
            ReaderLeft: nobody reads our stdout any more.
        """
        from .session import ReaderLeft

        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderLeft from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from ..version import VERSION

        click.echo(f"speechstream {VERSION}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: speechstream transcribe --local interview.mp4",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version."
)
def cli() -> None:
    """Upload recordings that cannot be made again, and get their transcripts.

    Whatever interrupts a command, the same command (or `speechstream resume`) goes on where it was: nothing is
    encoded, sent or submitted twice.
    """


def main() -> None:
    """The console script: runs the command and answers with an exit code of `engine.errors.ExitCode`."""
    garbage.loading()
    try:
        from .session import exit_code_of, let_go_of_stderr, require_stderr
        from .signals import outlive_signals, survive_signals
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    try:
        require_stderr()
        survive_signals()
        cli.main(standalone_mode=False)
    except BaseException as error:  # noqa: BLE001 - the last one to see it: every end becomes an exit code
        outlive_signals()
        sys.exit(exit_code_of(error))
    finally:
        outlive_signals()
        let_go_of_stderr()
        garbage.ending()


__all__ = ["cli", "main"]
