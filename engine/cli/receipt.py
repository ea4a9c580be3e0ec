"""`speechstream receipt`: the paper that says which bytes were sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import Common, common

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.receipt import WrittenReceipt
    from ..events import Event


@click.command(epilog="Example: speechstream receipt k3f9qz -o k3f9qz.receipt.json")
@click.argument("name", metavar="JOB")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it here instead of to stdout."
)
@common("output")
def receipt(options: Common, name: str, output: Path | None) -> None:
    """Write a receipt for JOB (an id or a processing_id): digests of all parts, sizes, ids, times, as JSON.

    `speechstream verify --receipt RECEIPT FILE` checks a copy against it, years later and anywhere. It holds no
    secrets. The recording itself is read where it was prepared before it was sent.
    """
    from .results import print_json, require_writable, write_atomically
    from .session import tell, with_events

    if output is not None:
        require_writable(output)
    written, missing = with_events(options, lambda emit: _write(name, emit))
    if missing is not None:
        tell(missing, label="warning")
    if output is None:
        click.echo(written.text(), nl=False)
        return
    write_atomically(output, written.text())
    if options.json:
        print_json({"job_id": written.job_id, "receipt": str(output)})
    else:
        tell(f"the receipt of job {written.job_id} is {output}", hint=f"speechstream verify --receipt {output} FILE")


async def _write(name: str, emit: Callable[[Event], None]) -> tuple[WrittenReceipt, str | None]:
    import time

    from .. import config, proving
    from ..runtime.manifest import Manifest

    with Manifest(config.load().state_dir) as manifest:
        return await proving.make_receipt(manifest, manifest.job(name), time.time(), emit)
