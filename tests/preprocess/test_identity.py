"""A recording is recognised by what it is, with little reading."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from preprocess import NotFound, NotRegular, identity

if TYPE_CHECKING:
    from pathlib import Path

BIG_BYTES = 64 << 20


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of 64 MiB that takes no room."""
    with (tmp_path / "big").open("wb") as file:
        file.truncate(BIG_BYTES)
    return tmp_path / "big"


def overwrite(path: Path, at: int) -> None:
    """Change one byte without a trace in size or times."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_says_what_the_system_says(tmp_path: Path) -> None:
    """Device, inode, size and time are the system's."""
    (tmp_path / "a").write_bytes(b"hello")
    status = (tmp_path / "a").stat()

    one = identity(tmp_path / "a")

    assert (one.device, one.inode) == (status.st_dev, status.st_ino)
    assert (one.size_bytes, one.mtime_ns) == (5, status.st_mtime_ns)
    assert len(bytes.fromhex(one.fingerprint)) == 16
    assert identity(str(tmp_path / "a")) == one


@pytest.mark.parametrize("at", [0, (1 << 20) - 1, BIG_BYTES - (1 << 20), BIG_BYTES - 1])
def test_edges_are_watched(big: Path, at: int) -> None:
    """A change within a mebibyte of either end shows, even if the clock was turned back."""
    before = identity(big)
    overwrite(big, at)

    assert not identity(big).same_content(before)
    assert identity(big).mtime_ns == before.mtime_ns


def test_the_middle_is_sampled(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight samples in between are read too, and never more than 2.5 MiB in all."""
    reads: list[tuple[int, int]] = []
    pread = os.pread

    def watch(fd: int, length: int, offset: int) -> bytes:
        reads.append((offset, length))
        return pread(fd, length, offset)

    monkeypatch.setattr("os.pread", watch)
    before = identity(big)
    seen = list(reads)
    overwrite(big, seen[4][0] + 10)

    assert not identity(big).same_content(before)
    assert len(seen) == 10
    assert sum(length for _, length in seen) <= 2.5 * (1 << 20)


def test_small_files_are_read_whole(tmp_path: Path) -> None:
    """In a small recording no byte can change unseen."""
    path = tmp_path / "small"
    path.write_bytes(bytes(2_000_000))
    before = identity(path)
    overwrite(path, 1_234_567)

    assert not identity(path).same_content(before)


def test_a_copy_is_the_same_content(big: Path, tmp_path: Path) -> None:
    """A copy has another inode and time, and the same content."""
    (tmp_path / "copy").write_bytes(big.read_bytes())

    assert identity(tmp_path / "copy").same_content(identity(big))
    assert identity(tmp_path / "copy") != identity(big)


def test_missing(tmp_path: Path) -> None:
    """A missing file has no identity."""
    with pytest.raises(NotFound, match="gone"):
        identity(tmp_path / "gone")


def test_directory(tmp_path: Path) -> None:
    """What is no file has none either, and says what it is."""
    with pytest.raises(NotRegular):
        identity(tmp_path)
