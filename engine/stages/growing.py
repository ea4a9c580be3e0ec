"""Artifacts that are uploaded while they are made: encoded, read from a pipe, or written by a recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.job import artifact_of, encodes
from ..errors import SpeechStreamError
from ..runtime.together import together

if TYPE_CHECKING:
    from ..encoding import Encoding
    from ..intake import Intake
    from ..uploading import Uploading
    from .attempt import Attempt


async def carry_while_it_grows(uploading: Uploading, attempt: Attempt) -> str | None:
    """Make the artifact and bring it to the server, both at once.

    Raises:
        SpeechStreamError: one of the two cannot be gone on from.
    """
    intake = _intake(uploading, attempt)
    uploading.growth, uploading.end = intake.growth, intake.end
    uploading.open_artifact = lambda job: intake.open() if artifact_of(job).growing else attempt.open(job)
    async with together() as tasks:
        tasks.start_soon(intake.run)
        await intake.ready()
        try:
            return await uploading.carry()
        except SpeechStreamError as error:
            await intake.outlast(error)
            raise


def _intake(uploading: Uploading, attempt: Attempt) -> Intake | Encoding:
    job, artifact = uploading.job, uploading.artifact
    if encodes(artifact):
        from ..encoding import Encoding

        return Encoding(job, artifact, attempt.spool, attempt.crew)
    from ..intake import intake_of

    return intake_of(job, artifact, attempt.spool, attempt.wishes.source, attempt.crew)
