"""The growing file: what is noted stays, what is not goes, and nothing of two makings is ever mixed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import xxhash
from msgspec.structs import replace

from preprocess import SourceIdentity, Unsupported
from preprocess.journal import Journal, Making, Note
from preprocess.partial import Diverged
from preprocess.segments import Segments
from preprocess.splice import Segment
from preprocess.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

MAKING = Making(SourceIdentity(1, 2, 3, 4, "print"), "standard", ("a",), ("9", "x"))
NAMES = ["artifact.journal", "artifact.partial"]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.create()
    return spool


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.into.iterdir())


def make(spool: Spool, *pieces: bytes, making: Making = MAKING) -> str:
    """Append and sync piece by piece, then stop like a killed process."""
    with suppress(InterruptedError), spool.partial(making) as growing:
        for piece in pieces:
            growing.append(piece)
            growing.sync()
        generation = growing.generation
        raise InterruptedError
    return generation


def test_goes_on_where_it_was(spool: Spool) -> None:
    """The same bytes are compared, new ones are written, and the digest is of all of them."""
    generation = make(spool, b"one", b"two")

    with spool.partial(MAKING) as growing:
        assert growing.watermark_bytes == 6
        for piece in (b"onet", b"wothr", b"ee"):
            growing.append(piece)
        growing.sync()

        assert growing.generation == generation
        assert growing.path.read_bytes() == b"onetwothree"
        assert growing.watermark_bytes == growing.size_bytes == 11
        assert growing.digest() == xxhash.xxh3_128_hexdigest(b"onetwothree")


def test_other_bytes_are_never_appended(spool: Spool) -> None:
    """What differs from what is there ends the generation; the next begins with nothing."""
    generation = make(spool, b"one", b"two")

    with pytest.raises(Diverged, match="other bytes from 0 on"), spool.partial(MAKING) as growing:
        growing.append(b"onetwi")

    assert names(spool) == []
    with spool.partial(MAKING) as growing:
        assert growing.generation != generation
        assert growing.watermark_bytes == 0


def test_what_is_not_noted_is_cut_off(spool: Spool) -> None:
    """Bytes that a power cut may have torn are not there for the next run."""
    make(spool, b"one")
    with (spool.into / "artifact.partial").open("ab") as file:
        file.write(b"\0\0\0")

    with spool.partial(MAKING) as growing:
        growing.append(b"onetwo")
        assert growing.path.read_bytes() == b"onetwo"


@pytest.mark.parametrize(
    "other",
    [
        replace(MAKING, arguments=("b",)),
        replace(MAKING, ffmpeg=("10", "x")),
        replace(MAKING, source=replace(MAKING.source, mtime_ns=5)),
        replace(MAKING, source=replace(MAKING.source, fingerprint="other")),
    ],
)
def test_another_making_begins_anew(spool: Spool, other: Making) -> None:
    """Another tool, recipe or recording goes on with nothing."""
    generation = make(spool, b"one")
    Segments(spool.into).save(3, "sound", Segment((b"h", b"t"), (b"p",)))

    with spool.partial(other) as growing:
        assert growing.generation != generation
        assert growing.watermark_bytes == 0
        assert names(spool) == NAMES


def test_moved_recording_is_the_same(spool: Spool) -> None:
    """Where a recording lies does not change what is made of it."""
    generation = make(spool, b"one")

    with spool.partial(replace(MAKING, source=replace(MAKING.source, device=9, inode=9))) as growing:
        assert growing.generation == generation


@pytest.mark.parametrize("torn", [b"{", b'{"stop_bytes": 9', b"\xff\n", b'{"other": 1}\n{"stop_bytes": 12}\n'])
def test_torn_journal(spool: Spool, torn: bytes) -> None:
    """A torn line, and all behind it, does not count, and the next note is not glued to it."""
    make(spool, b"one", b"two")
    journal = spool.into / "artifact.journal"
    journal.write_bytes(journal.read_bytes() + torn)

    with spool.partial(MAKING) as growing:
        assert growing.watermark_bytes == 6
        growing.append(b"onetwothree")
        growing.sync()
    assert [note.stop_bytes for note in Journal.read(journal, MAKING).notes] == [3, 6, 11]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]\n", b'{"schema": 99}\n', b"\xff"])
def test_journal_that_is_none(spool: Spool, content: bytes) -> None:
    """What is no journal of ours is begun anew."""
    make(spool, b"one")
    (spool.into / "artifact.journal").write_bytes(content)

    with spool.partial(MAKING) as growing:
        assert growing.watermark_bytes == 0


def test_file_shorter_than_its_journal(spool: Spool) -> None:
    """A journal that speaks of bytes that are not there is not believed."""
    make(spool, b"one", b"two")
    with (spool.into / "artifact.partial").open("r+b") as file:
        file.truncate(4)

    with spool.partial(MAKING) as growing:
        assert growing.watermark_bytes == 0


def test_segments_are_kept_by_their_digest(spool: Spool) -> None:
    """A run of bytes is gone over without being made again, and damage in it is found."""
    note = Note(3, 0, 1, "sound", xxhash.xxh3_128_hexdigest(b"one"))
    with suppress(InterruptedError), spool.partial(MAKING) as growing:
        growing.append(b"one")
        growing.sync(note)
        raise InterruptedError

    with suppress(InterruptedError), spool.partial(MAKING) as growing:
        assert growing.note_of(0) == note
        assert growing.note_of(1) is None
        growing.keep(note)
        assert growing.size_bytes == 3
        raise InterruptedError

    (spool.into / "artifact.partial").write_bytes(b"onE")
    with pytest.raises(Diverged, match="damaged between 0 and 3"), spool.partial(MAKING) as growing:
        growing.keep(note)


def test_hopeless_errors_leave_nothing(spool: Spool) -> None:
    """What cannot be prepared at all leaves no half of it behind."""
    with suppress(Unsupported), spool.partial(MAKING) as growing:
        growing.append(b"one")
        growing.sync()
        raise Unsupported("no")

    assert names(spool) == []


def test_segment_files(tmp_path: Path) -> None:
    """A segment is found by its number and sound, whole or not at all."""
    segments, made = Segments(tmp_path), Segment((b"head", b"tags"), (b"one", b"", b"three"))
    segments.save(7, "sound", made)

    assert segments.load(7, "sound") == made
    assert segments.load(7, "other") is None
    assert segments.load(8, "sound") is None

    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    assert segments.load(7, "sound") is None

    segments.drop(7)
    assert list(tmp_path.iterdir()) == []
