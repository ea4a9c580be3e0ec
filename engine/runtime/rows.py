"""How records become rows of the manifest and rows become records again."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from ..errors import InternalError, StateError
from ..model import (
    ArtifactRecord,
    JobKind,
    JobRecord,
    JobState,
    Lane,
    Plan,
    Proof,
    SourceIdentity,
    Span,
    Tally,
    WireName,
)
from ..redaction import Secret
from .database import REPAIR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from .sealing import Seal

Value = str | int | float | bytes | None


@contextlib.contextmanager
def readable(job_id: str) -> Iterator[None]:
    """Say of which job a row cannot be what was written: SQLite does not notice a bit that flips inside a value.

    Raises:
        StateError: it is damaged.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"What the manifest holds of job {job_id!r} is damaged: {error}",
            hint=f"`{REPAIR}` keeps the rest, and the damaged file",
        ) from error


def artifact_of(row: sqlite3.Row) -> ArtifactRecord:
    """The artifact in a job's row that has one.

    Raises:
        StateError: it is damaged.
    """
    with readable(row["id"]):
        return ArtifactRecord(**json.loads(row["artifact"]))


def job_of(row: sqlite3.Row, spans: tuple[Span, ...], seal: Seal | None) -> JobRecord:
    """The job in a row. Without a `seal` its addresses stay closed."""
    artifact = None if row["artifact"] is None else ArtifactRecord(**json.loads(row["artifact"]))
    plan = None
    if artifact is not None and row["part_size_bytes"] is not None:
        plan = Plan(row["part_size_bytes"], artifact.size_bytes, spans)

    def address(column: str) -> Secret | None:
        return None if seal is None or row[column] is None else seal.open(row[column])

    return JobRecord(
        id=row["id"],
        kind=JobKind(row["kind"]),
        state=JobState(row["state"]),
        source=os.fsdecode(row["source"]),
        identity=SourceIdentity(
            int(row["device"]), int(row["inode"]), row["size_bytes"], row["mtime_ns"], row["fingerprint"]
        ),
        wish=row["wish"],
        track=row["track"],
        chosen=row["chosen"],
        endpoint=row["endpoint"],
        idempotency_key=row["idempotency_key"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        wire=None if row["wire"] is None else WireName(row["wire"]),
        decision=row["decision"],
        artifact=artifact,
        plan=plan,
        processing_id=row["processing_id"],
        transcription=row["transcription"],
        result_url=address("result_url"),
        joined_url=address("joined_url"),
        join_count=row["join_count"],
        proof=None if row["proof"] is None else Proof(row["proof"]),
        uploaded_at=row["uploaded_at"],
        completed_at=row["completed_at"],
        failure=row["failure"],
        limit_bytes_s=row["limit_bytes_s"],
        tally=Tally(row["sent_bytes"], row["retries"], row["waited_s"], row["sending_s"]),
    )


def lane_of(row: sqlite3.Row, seal: Seal) -> Lane:
    """The lane in a row."""
    return Lane(
        index=row["number"],
        span=Span(row["start"], row["stop"]),
        created=bool(row["created"]),
        url=None if row["url"] is None else seal.open(row["url"]),
        acked_bytes=row["acked_bytes"],
        offered_bytes=row["offered_bytes"],
        generation=row["generation"],
        expires_at=row["expires_at"],
        deferred=bool(row["deferred"]),
        partial=bool(row["partial"]),
        checked=bool(row["checked"]),
    )


def lane_values(job_id: str, lane: Lane, seal: Seal) -> tuple[Value, ...]:
    """A lane's row, in the order of the table's columns."""
    return (
        job_id, lane.index, lane.span.start, lane.span.stop, lane.created,
        None if lane.url is None else seal.close(lane.url),
        lane.acked_bytes, lane.offered_bytes, lane.generation, lane.expires_at, lane.deferred, lane.partial,
        lane.checked,
    )  # fmt: skip


def storable(text: str) -> str:
    """Text as SQLite takes it: a name or a reason may quote a path whose bytes are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def changed_columns(changes: Mapping[str, object], seal: Seal) -> dict[str, Value]:
    """Fields of a `JobRecord` as columns.

    Raises:
        InternalError: a field has no column.
    """
    columns: dict[str, Value] = {}
    for name, value in changes.items():
        match value:
            case ArtifactRecord():
                columns[name] = json.dumps(asdict(value))
            case Secret():
                columns[name] = seal.close(value)
            case str():
                columns[name] = storable(value)
            case None | int() | float() | bytes():
                columns[name] = value
            case _:
                raise InternalError(f"the manifest has no column for {name}={type(value).__name__}")
    return columns


def identity_columns(identity: SourceIdentity) -> dict[str, Value]:
    """Who a recording is, in the columns of its job."""
    return {
        "device": str(identity.device),
        "inode": str(identity.inode),
        "size_bytes": identity.size_bytes,
        "mtime_ns": identity.mtime_ns,
        "fingerprint": identity.fingerprint,
    }


def job_columns(job: JobRecord) -> dict[str, Value]:
    """A new job's row."""
    return {
        "id": job.id,
        "kind": str(job.kind),
        "state": str(job.state),
        "source": os.fsencode(job.source),
        **identity_columns(job.identity),
        "wish": job.wish,
        "track": job.track,
        "chosen": job.chosen,
        "decision": None if job.decision is None else storable(job.decision),
        "endpoint": job.endpoint,
        "idempotency_key": job.idempotency_key,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }
