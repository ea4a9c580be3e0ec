"""`speechstream limit`: how fast jobs may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import UserError
from .options import Limit

if TYPE_CHECKING:
    from ..runtime.manifest import Manifest

_DEFAULT = "default"


class _Choice(Limit):
    """A limit, `off`, or `default` for what is set for all jobs (-1, as None is no value to click)."""

    name = "choice"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The limit in bytes a second."""
        return -1 if value == _DEFAULT else super().convert(value, param, ctx)


@click.command(epilog="Example: speechstream limit k3f9qz 500kB/s")
@click.argument("jobs", nargs=-1, metavar="JOB...")
@click.argument("rate", type=_Choice(), metavar="RATE|off|default")
@click.option("--all", "every", is_flag=True, help="All jobs that are not at their end, instead of named ones.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one object a line.")
def limit(jobs: tuple[str, ...], rate: int, *, every: bool, as_json: bool) -> None:
    """Let each JOB send at most RATE, such as 500kB/s; a process that sends it keeps to that within two seconds.

    The limit stays with the job: a resume keeps it. `off` is no limit, whatever the configuration says; `default` is
    what the configuration says.
    """
    from .. import config
    from ..runtime.manifest import Manifest
    from .results import print_json
    from .session import tell

    if every == bool(jobs):
        raise click.UsageError("name the jobs, or all of them with --all")
    chosen = None if rate < 0 else rate
    with Manifest(config.load().state_dir) as manifest:
        names = _all_unfinished(manifest) if every else tuple(_unfinished(manifest, name) for name in jobs)
        for name in names:
            job = manifest.note(name, limit_bytes_s=chosen)
            if as_json:
                print_json({"job_id": job.id, "limit_bytes_s": job.limit_bytes_s})
            else:
                tell(f"job {job.id} {_words(chosen)}")


def _unfinished(manifest: Manifest, name: str) -> str:
    from ..core.job import FINAL

    job = manifest.job(name)
    if job.state in FINAL:
        raise UserError(f"Job {job.id} is {job.state}: there is nothing to limit", hint="speechstream jobs")
    return job.id


def _all_unfinished(manifest: Manifest) -> tuple[str, ...]:
    from ..core.job import FINAL

    return tuple(job.id for job in manifest.jobs() if job.state not in FINAL)


def _words(limit_bytes_s: int | None) -> str:
    from ..progress.sentences import size

    if limit_bytes_s is None:
        return "sends as fast as the configuration lets it"
    return f"sends at most {size(limit_bytes_s)}/s" if limit_bytes_s else "sends without a limit"
