"""`speechstream verify`: is it still what was sent?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .options import Common, common

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.proof import Comparison
    from ..events import Event

_SHOWN_SPANS: Final = 10  # of a file that differs everywhere nobody reads more; --json has all
_MAX_RECEIPT_BYTES: Final = 64 << 20  # the 10,000 digests of the largest upload make less than 1 MB


@click.command(epilog="Example: speechstream verify k3f9qz")
@click.argument("what", metavar="JOB|FILE")
@click.option(
    "--receipt",
    "receipt",
    metavar="RECEIPT",
    type=click.Path(path_type=Path),
    help="Check FILE against this receipt; needs neither service nor jobs.",
)
@common("output")
def verify(options: Common, what: str, receipt: Path | None) -> None:
    """Prove the recording of JOB, and its prepared artifact if it is still here, against what was sent.

    With --receipt it is FILE that is proved, by the receipt alone. Says for each equal, changed (and where), gone or
    unproved. Exit code 0 only if all that exists is equal, and something exists.
    """
    from ..core.proof import Verdict
    from ..errors import ExitCode
    from .session import Reported, with_events

    found = with_events(options, lambda emit: _compare(what, receipt, emit))
    for comparison in found:
        _show(options, comparison)
    verdicts = {comparison.verdict for comparison in found}
    if Verdict.EQUAL not in verdicts or verdicts - {Verdict.EQUAL, Verdict.GONE}:
        raise Reported(ExitCode.USER)


async def _compare(what: str, receipt: Path | None, emit: Callable[[Event], None]) -> list[Comparison]:
    from .. import config, proving
    from ..core.receipt import WrittenReceipt
    from ..runtime.manifest import Manifest

    if receipt is not None:
        written = WrittenReceipt.read(_text_of(receipt), str(receipt))
        return [await proving.verify_file(written, Path(what), emit)]
    with Manifest(config.load().state_dir) as manifest:
        return await proving.verify_job(manifest, manifest.job(what), emit)


def _text_of(receipt: Path) -> str:
    from ..errors import UserError

    try:
        with receipt.open("rb") as file:
            content = file.read(_MAX_RECEIPT_BYTES)
    except OSError as error:
        raise UserError(f"The receipt {receipt} cannot be read: {error.strerror}", hint="check its name") from error
    return content.decode("utf-8", "replace")


def _show(options: Common, found: Comparison) -> None:
    from ..progress.sentences import printable
    from .results import print_json

    if options.json:
        print_json(
            {
                "side": found.side,
                "path": found.path,
                "verdict": found.verdict,
                "expected_bytes": found.expected_bytes,
                "size_bytes": found.size_bytes,
                "differing": [[span.start, span.stop] for span in found.differing],
                "proved_parts": found.proved_parts,
                "parts": found.parts,
                "remark": found.remark,
            }
        )
        return
    click.echo(f"{found.verdict:8}  {found.side:9}  {printable(found.path)}{_explained(found)}")
    for span in found.differing[:_SHOWN_SPANS]:
        click.echo(f"{'':8}  differs between byte {span.start} and {span.stop}")
    if len(found.differing) > _SHOWN_SPANS:
        click.echo(f"{'':8}  and {len(found.differing) - _SHOWN_SPANS} more such spans; --json lists all")


def _explained(found: Comparison) -> str:
    said = []
    if found.size_bytes is not None and found.size_bytes != found.expected_bytes:
        said.append(f"{found.size_bytes} bytes, and had {found.expected_bytes}")
    if found.size_bytes is not None and found.parts is not None:
        said.append(f"{found.proved_parts} of {found.parts} parts compared")
    if found.remark is not None:
        said.append(found.remark)
    return f" ({'; '.join(said)})" if said else ""
