"""`speechstream cancel`: give a job up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import Common, common

if TYPE_CHECKING:
    from ..client import Client
    from ..model import JobRecord


@click.command(epilog="Example: speechstream cancel k3f9qz")
@click.argument("name", metavar="JOB")
@common("output")
def cancel(options: Common, name: str) -> None:
    """Give JOB up: remove its upload from the server and its prepared artifact from here.

    A job that the service already has cannot be called back; only the waiting for it ends.
    """
    from .results import print_json
    from .session import run, tell

    async def work(client: Client) -> JobRecord:
        return await client.cancel(name)

    job = run(options, work)
    if options.json:
        print_json({"job_id": job.id, "state": job.state})
    else:
        tell(f"job {job.id} is {job.state}")
