from __future__ import annotations

import errno
import functools
import os
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import RecordingChanged, RecordingError
from engine.model import Plan, SourceIdentity, Span
from engine.runtime.artifact import ArtifactFile, PartHasher, digest_of_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio
CONTENT = bytes(number % 251 for number in range(1000))
PLAN = Plan(64, len(CONTENT), (Span(0, len(CONTENT)),))
DIGESTS = tuple(
    xxhash.xxh3_128_digest(CONTENT[PLAN.part(index).start : PLAN.part(index).stop]) for index in range(PLAN.part_count)
)
READS = st.tuples(st.integers(0, 999), st.integers(1, 300)).map(lambda read: (read[0], min(read[1], 1000 - read[0])))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The artifact."""
    (tmp_path / "artifact").write_bytes(CONTENT)
    return tmp_path / "artifact"


@pytest.fixture
def file(path: Path) -> Iterator[ArtifactFile]:
    """The artifact, open."""
    with ArtifactFile(path, len(CONTENT)) as file:
        yield file


async def read(hasher: PartHasher, offset: int, size_bytes: int) -> bytes:
    """What it puts into a buffer."""
    buffer = bytearray(size_bytes)
    await hasher.fill(memoryview(buffer), offset)
    return bytes(buffer)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=st.lists(READS, max_size=12), sequential=st.lists(st.integers(1, 200), max_size=12))
async def test_any_order_of_reads_gives_the_digests_of_one_pass(
    file: ArtifactFile, reads: list[tuple[int, int]], sequential: list[int]
) -> None:
    """Rewinds, gaps and pieces that straddle parts change neither what is sent nor what is proved."""
    hasher = PartHasher(file, PLAN, {})
    offset = 0
    for offset, size in [*reads, *running(sequential)]:
        assert await read(hasher, offset, size) == CONTENT[offset : offset + size]
    assert await hasher.complete() == DIGESTS
    assert hasher.taken() == dict(enumerate(DIGESTS))
    assert hasher.taken() == {}


def running(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Reads one after another from the beginning, to the end of the file at most."""
    offset = 0
    for size in sizes:
        if offset < len(CONTENT):
            yield offset, min(size, len(CONTENT) - offset)
            offset += size


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.sets(st.integers(0, PLAN.part_count - 1)), start=st.integers(0, 999))
async def test_a_kill_in_between_costs_only_the_digests_it_took(
    file: ArtifactFile, known: set[int], start: int
) -> None:
    """What was committed is believed; the rest is read again, and only that is fresh."""
    hasher = PartHasher(file, PLAN, {index: DIGESTS[index] for index in known})
    await read(hasher, start, len(CONTENT) - start)
    assert await hasher.complete() == DIGESTS
    assert set(hasher.taken()) == set(range(PLAN.part_count)) - known


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 999))
def test_one_changed_byte_is_found_when_it_is_read_again(path: Path, at: int) -> None:
    """A part whose bytes are not those that were sent before stops the upload before it can mix two recordings."""
    changed = bytearray(CONTENT)
    changed[at] ^= 1
    path.write_bytes(changed)
    with ArtifactFile(path, len(CONTENT)) as file:
        hasher = PartHasher(file, PLAN, dict(enumerate(DIGESTS)))
        with pytest.raises(RecordingChanged, match="other bytes"):
            anyio.run(read, hasher, 0, len(CONTENT))


async def test_a_change_is_found_in_the_head_of_a_part_that_was_half_sent(path: Path) -> None:
    """Going on within a part reads its beginning again, so that its digest covers what the server has."""
    with ArtifactFile(path, len(CONTENT)) as file:
        hasher = PartHasher(file, PLAN, {1: DIGESTS[1]})
        with path.open("r+b") as other:
            other.seek(70)
            other.write(b"\xff")
        with pytest.raises(RecordingChanged):
            await read(hasher, 100, 100)


@pytest.mark.parametrize(
    ("at_hand_bytes", "refusal", "threads"),
    [(250, None, 1), (100, None, 4), (0, errno.EAGAIN, 4), (0, errno.EOPNOTSUPP, 4)],
)
async def test_only_what_is_in_memory_is_read_without_a_thread(
    at_hand_bytes: int, refusal: int | None, threads: int, file: ArtifactFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has to be waited for, or that does not tell, must not hold up the other lanes. Same bytes always."""
    asked: list[int] = []
    in_thread = anyio.to_thread.run_sync

    async def counted(*arguments: object) -> object:
        asked.append(1)
        return await in_thread(*arguments)  # type: ignore[arg-type]  # passed on as they came

    def at_hand(descriptor: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        if refusal is not None:
            raise OSError(refusal, os.strerror(refusal))
        piece = os.pread(descriptor, min(at_hand_bytes, len(buffers[0])), offset)
        buffers[0][: len(piece)] = piece
        return len(piece)

    monkeypatch.setattr(anyio.to_thread, "run_sync", counted)
    monkeypatch.setattr(os, "preadv", at_hand)
    hasher = PartHasher(file, PLAN, {})
    assert b"".join([await read(hasher, start, 250) for start in range(0, 1000, 250)]) == CONTENT
    assert tuple(hasher.fresh.values()) == DIGESTS
    assert len(asked) == threads


def test_the_artifacts_digest_is_over_its_parts_digests() -> None:
    """xxh3-128 of the raw part digests in order; of nothing, for an empty artifact."""
    assert digest_of_parts(DIGESTS) == xxhash.xxh3_128_digest(b"".join(DIGESTS))
    assert digest_of_parts(()) == xxhash.xxh3_128_digest(b"")


def test_a_file_that_shrinks_is_found(path: Path, file: ArtifactFile) -> None:
    """Both by asking and by reading."""
    os.truncate(path, 500)
    with pytest.raises(RecordingChanged, match="has 500 bytes, and had 1000"):
        file.check()
    with pytest.raises(RecordingChanged, match="ends at byte 500"):
        file.read_now(400, 200)


def test_a_recording_written_to_meanwhile_is_found(path: Path) -> None:
    """Where the recording itself is sent, its time of change is watched as well as its size."""
    facts = path.stat()
    identity = SourceIdentity(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, "f")
    with ArtifactFile(path, len(CONTENT), unchanged=identity) as file:
        file.check()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
        with pytest.raises(RecordingChanged, match="written to"):
            file.check()


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """The hint says how to go on."""
    with pytest.raises(RecordingError, match="cannot be opened") as caught:
        ArtifactFile(tmp_path / "gone", 1)
    assert "speechstream resume" in str(caught.value.hint)


async def test_hashing_again_is_told_part_by_part(file: ArtifactFile) -> None:
    """Reading gigabytes again is progress that can be shown."""
    told: list[int] = []
    await PartHasher(file, PLAN, {0: DIGESTS[0]}).complete(functools.partial(told.append))
    assert told == list(range(1, PLAN.part_count))
