"""`speechstream prepare`: only the artifact."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import OutputError
from .options import Common, common, recipe_options


@click.command(epilog="Example: speechstream prepare lecture.mov -o lecture.ogg --recipe standard")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The artifact to make.")
@recipe_options
@common("output")
def prepare(options: Common, file: Path, output: Path) -> None:
    """Prepare FILE as an upload would, into a file of your own, and print its path.

    The file appears whole or not at all.
    """
    from functools import partial

    from .. import config, planning, preparing
    from ..progress import make
    from .results import print_json, require_not_the_recording, require_writable
    from .session import log_to_stderr
    from .signals import run_until_signalled

    log_to_stderr(options.verbose)
    output = output.resolve()
    require_writable(output)
    require_not_the_recording(output, file)
    if output.exists() and not output.is_file():
        raise OutputError(f"{output} is not a regular file", hint="name a new file with -o")
    renderer = make(options.progress)
    settings = config.load()
    known = planning.remembered(settings.state_dir, settings.endpoint)
    wish = preparing.Wish(options.recipe or settings.recipe, options.track, known)
    try:
        made = run_until_signalled(partial(preparing.prepare_into, file.absolute(), wish, output.absolute(), renderer))
    finally:
        renderer.close()
    if options.json:
        print_json(
            {"path": made.path, "size_bytes": made.size_bytes, "media_type": made.media_type, "recipe": made.recipe}
        )
    else:
        click.echo(made.path)
