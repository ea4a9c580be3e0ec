"""A manifest that has seen many recordings, without the years that it would take."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from engine.runtime.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT: Final = "https://speech.example/v1"
_ARTIFACT: Final = (
    '{"path": "artifact.ogg", "size_bytes": 5000000, "media_type": "audio/ogg", "filename": "take.ogg",'
    ' "recipe": "standard", "is_source": false}'
)
_JOBS: Final = f"""
WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < ?)
INSERT INTO job (id, kind, state, source, device, inode, size_bytes, mtime_ns, fingerprint, wish, endpoint,
                 idempotency_key, created_at, updated_at, wire, decision, artifact, part_size_bytes, processing_id,
                 transcription, proof, uploaded_at, completed_at)
SELECT printf('j%05x', i), 'transcription',
       CASE WHEN i % 1000 = 0 THEN 'failed' WHEN i % 10 = 9 THEN 'processing' ELSE 'completed' END,
       CAST(printf('/recordings/day-%03d/take-%06d.wav', i / 100, i) AS BLOB), '64769', i, 57600044,
       1700000000000000000 + i, printf('%032x', i), 'auto', '{ENDPOINT}', printf('key-%d', i), 1.7e9 + i, 1.7e9 + i,
       'tus', 'standard: speech needs no more', '{_ARTIFACT}', 1048576, printf('p%031d', i),
       replace(hex(zeroblob(200)), '00', 'word '), 'verified by server', 1.7e9 + i, 1.7e9 + i
FROM number
"""


def populate(folder: Path, count: int) -> None:
    """Fill the manifest in `folder` with `count` jobs: one in ten is processing, one in a thousand failed."""
    Manifest(folder).close()
    with closing(sqlite3.connect(folder / "manifest.db")) as database, database:
        database.execute(_JOBS, (count,))
        database.execute(
            "INSERT INTO lane SELECT id, 0, 0, 5000000, 1, NULL, 5000000, 5000000, 0, NULL, 0, 0, 1 FROM job"
        )
        database.execute(
            "INSERT INTO part SELECT job.id, piece.value, zeroblob(16) FROM job, json_each('[0, 1, 2, 3, 4]') AS piece"
        )
