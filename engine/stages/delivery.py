"""The end of a delivery: its bytes are where they were to go, and nobody will submit them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.job import after_upload
from ..core.proof import proof_of_delivery
from ..identity import require_unchanged
from ..submitting import all_digests, uploaded_as

if TYPE_CHECKING:
    from ..model import JobRecord
    from .attempt import Attempt


async def deliver(job: JobRecord, attempt: Attempt) -> JobRecord:
    """Make sure that it still is what was sent, as nobody else will ever compare it, and commit where it went.

    Raises:
        RecordingChanged: it is another by now.
        RecordingError: it cannot be read.
    """
    await require_unchanged(job)
    await all_digests(job, attempt.manifest, attempt.open)  # the receipt's, when the file may be gone
    now = attempt.crew.clock.wall()
    job = attempt.manifest.move(
        job.id,
        after_upload(job.kind),
        result_url=uploaded_as(job, attempt.manifest, await attempt.base_url(job)),
        proof=proof_of_delivery(attempt.manifest.lanes(job)),
        uploaded_at=now,
        completed_at=now,
    )
    attempt.tell_cost(job)
    return job
