"""`speechstream jobs` and `speechstream show`: what this machine knows, without a network."""

from __future__ import annotations

from datetime import datetime
from itertools import chain, islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

import click
from msgspec.structs import asdict

from ..model import JobState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import JobRecord
    from ..runtime.manifest import Manifest

_RECENT: Final = 50  # two screens; whoever wants more says so
_HEAD: Final = ("JOB", "STATE", "SINCE", "ID", "RECORDING")


def _manifest() -> Manifest:
    from .. import config
    from ..runtime.manifest import Manifest

    return Manifest(config.load().state_dir)


@click.command(epilog="Example: speechstream jobs --state failed --state ambiguous")
@click.option(
    "--state",
    "states",
    type=click.Choice([str(state) for state in JobState]),
    multiple=True,
    help="Only jobs in this state; may be repeated.",
)
@click.option("--unfinished", is_flag=True, help="Only jobs that are not at their end.")
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=_RECENT, show_default=True, help="So many, the newest ones."
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one object a line.")
def jobs(states: tuple[str, ...], *, unfinished: bool, limit: int, everything: bool, as_json: bool) -> None:
    """List the newest jobs of this machine, oldest of them first."""
    from ..core.job import FINAL
    from .session import tell

    wanted = {JobState(state) for state in states} | (set(JobState) - FINAL if unfinished else set())
    with _manifest() as manifest:
        overview = manifest.overview
        counts = overview.counts()
        total = sum(count for state, count in counts.items() if not wanted or state in wanted)
        found = overview.each() if everything and not wanted else overview.newest(wanted, None if everything else limit)
        _print_list(found, as_json=as_json)
    if not counts and not as_json:
        tell("there are no jobs yet", hint="speechstream transcribe FILE")
    elif not everything and total > limit:
        tell(f"the newest {limit} of {total} jobs", hint="`--limit N` or `--all` for more, `--state` for some kinds")


def _print_list(found: Iterable[JobRecord], *, as_json: bool) -> None:
    """One job a line, as it is read: the columns are as wide as the first of them need."""
    from .results import print_json

    if as_json:
        for job in found:
            print_json(_summary(job))
        return
    rows = map(_row, found)
    seen = list(islice(rows, _RECENT))
    if not seen:
        return
    widths = [max(len(row[column]) for row in (_HEAD, *seen)) for column in range(4)]
    for row in chain((_HEAD,), seen, rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[4]]).rstrip())


@click.command(epilog="Example: speechstream show k3f9qz")
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def show(job: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Show all that is known of JOB (an id or a processing_id)."""
    from .results import print_json

    with _manifest() as manifest:
        record = manifest.job(job)
        lanes = manifest.lanes(record)
    acked = sum(lane.acked_bytes for lane in lanes)
    facts = {
        **_summary(record),
        "recipe": record.artifact.recipe if record.artifact else record.wish,
        "track": record.track,
        "decision": record.decision,
        "wire": record.wire,
        "artifact_bytes": record.artifact.size_bytes if record.artifact else None,
        "acked_bytes": acked,
        "parts": record.plan.part_count if record.plan else None,
        "part_size_bytes": record.plan.part_size_bytes if record.plan else None,
        "proof": record.proof,
        "uploaded_at": record.uploaded_at,
        "completed_at": record.completed_at,
        **asdict(record.tally),
        "failure": record.failure,
        "transcription": record.transcription,
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if value is not None:
            label, shown = _legible(name, value)
            click.echo(f"{label:18} {shown}")


def _legible(name: str, value: object) -> tuple[str, str]:
    """A fact as a person reads it: its name without the unit, which stands with the value."""
    from ..progress.sentences import duration, printable, size

    shown = printable(str(value))
    if isinstance(value, (int, float)):
        if name.endswith("_bytes_s"):
            name, shown = name.removesuffix("_bytes_s"), f"{size(value)}/s" if value else "none"
        elif name.endswith("_bytes"):
            name, shown = name.removesuffix("_bytes"), size(value)
        elif name.endswith("_s"):
            name, shown = name.removesuffix("_s"), duration(value)
        elif name.endswith("_at"):
            shown = _moment(value)
    return name.replace("_", " "), shown


def _summary(job: JobRecord) -> dict[str, object]:
    return {
        "job_id": job.id,
        "kind": job.kind,
        "state": job.state,
        "source": job.source,
        "size_bytes": job.identity.size_bytes,
        "endpoint": job.endpoint,
        "processing_id": job.processing_id,
        "limit_bytes_s": job.limit_bytes_s,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def _row(job: JobRecord) -> tuple[str, str, str, str, str]:
    from ..progress.sentences import printable

    return (
        job.id,
        str(job.state),
        _moment(job.updated_at),
        job.processing_id or "-",
        printable(PurePath(job.source).name),
    )


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s).astimezone().strftime("%Y-%m-%d %H:%M")
