"""A preparation that was disturbed goes on where it was, and its bytes are the undisturbed ones."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import anyio
import pytest

from preprocess import (
    Artifact,
    Begun,
    Effort,
    Ffmpeg,
    Paused,
    PreparingEvent,
    Progress,
    RecipeName,
    decide,
    prepare,
    probe,
)
from preprocess.parallel import ParallelEncoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from preprocess.splice import Segment

pytestmark = pytest.mark.anyio
Record = Callable[..., Path]
Prepare = Callable[..., Awaitable[Artifact]]
RECIPES_TRIED: tuple[RecipeName, ...] = ("lossless", "standard")


@pytest.fixture(scope="module", autouse=True)
def _short_slices() -> Iterator[None]:
    """Slices a third as long as ours: they are as many, and cost a third."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preprocess.slices.FIRST_S", 20)
        yield


@pytest.fixture(scope="session")
def talk(record: Record, pytestconfig: pytest.Config) -> Path:
    """Three slices of speech."""
    spoken = pytestconfig.rootpath / "fixtures" / "spoken.wav"
    return record("talk.wav", "-stream_loop", "2", "-i", spoken, "-c", "copy")


@pytest.fixture(scope="module")
def undisturbed(talk: Path, ffmpeg: Ffmpeg, tmp_path_factory: pytest.TempPathFactory) -> dict[RecipeName, bytes]:
    """What is made of the talk when nobody disturbs it, by recipe."""

    async def make(recipe: RecipeName) -> bytes:
        info = await probe(talk)
        made = await prepare(info, decide(info, recipe), tmp_path_factory.mktemp("undisturbed"), ffmpeg=ffmpeg)
        return made.path.read_bytes()

    return {recipe: anyio.run(make, recipe) for recipe in RECIPES_TRIED}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the slices that were encoded, in the order in which they were done."""
    numbers: list[int] = []
    encode = ParallelEncoding._encode

    async def counting(self: ParallelEncoding, piece: object) -> Segment:
        made = await encode(self, piece)  # type: ignore[arg-type]  # whatever it is, it is passed on
        numbers.append(piece.index)  # type: ignore[attr-defined]  # a slice
        return made

    monkeypatch.setattr(ParallelEncoding, "_encode", counting)
    return numbers


async def interrupted(
    path: Path, recipe: RecipeName, into: Path, ffmpeg: Ffmpeg, after_bytes: int, workers: int = 2
) -> None:
    """Prepare until so much is on the disk for good, then stop as Ctrl-C does."""
    info = await probe(path)
    with anyio.CancelScope() as scope:

        def stop(event: PreparingEvent) -> None:
            if isinstance(event, Progress) and event.watermark_bytes > after_bytes:
                scope.cancel()

        await prepare(info, decide(info, recipe), into, ffmpeg=ffmpeg, report=stop, effort=Effort(workers))
    assert scope.cancelled_caught


@pytest.mark.parametrize("workers", [1, 3])
async def test_no_slice_is_encoded_twice(
    talk: Path,
    tmp_path: Path,
    ffmpeg: Ffmpeg,
    prepared: Prepare,
    encoded: list[int],
    undisturbed: dict[RecipeName, bytes],
    workers: int,
) -> None:
    """What was on the disk is not encoded again, and another number of workers makes the same bytes."""
    await interrupted(talk, "standard", tmp_path / "spool", ffmpeg, after_bytes=0, workers=workers)
    assert 0 in encoded
    again = await prepared(talk, into=tmp_path / "spool")

    assert sorted(encoded) == [0, 1, 2]
    assert again.path.read_bytes() == undisturbed["standard"]


@pytest.mark.parametrize("recipe", RECIPES_TRIED)
async def test_generation_is_kept(
    talk: Path, tmp_path: Path, ffmpeg: Ffmpeg, undisturbed: dict[RecipeName, bytes], recipe: RecipeName
) -> None:
    """Bytes that may have left stay what they are: the same generation goes on, from the same watermark."""
    await interrupted(talk, recipe, tmp_path / "spool", ffmpeg, after_bytes=0)
    left = (tmp_path / "spool" / "artifact.partial").read_bytes()
    events: list[PreparingEvent] = []
    info = await probe(talk)
    again = await prepare(info, decide(info, recipe), tmp_path / "spool", ffmpeg=ffmpeg, report=events.append)

    begun = [event for event in events if isinstance(event, Begun)]
    assert [0 < event.watermark_bytes <= len(left) for event in begun] == [True]
    assert again.path.read_bytes() == undisturbed[recipe]
    assert again.path.read_bytes()[: begun[0].watermark_bytes] == left[: begun[0].watermark_bytes]


async def test_damaged_spool_is_another_generation(
    talk: Path, tmp_path: Path, ffmpeg: Ffmpeg, undisturbed: dict[RecipeName, bytes]
) -> None:
    """Where the disk changed what was written, all is made anew, and it is told."""
    await interrupted(talk, "standard", tmp_path / "spool", ffmpeg, after_bytes=0)
    partial = tmp_path / "spool" / "artifact.partial"
    content = bytearray(partial.read_bytes())
    content[5000] ^= 1
    partial.write_bytes(content)
    events: list[PreparingEvent] = []
    info = await probe(talk)

    again = await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=ffmpeg, report=events.append)

    begun = [event.generation for event in events if isinstance(event, Begun)]
    assert len(set(begun)) == len(begun) == 2
    assert again.path.read_bytes() == undisturbed["standard"]


async def test_other_sound_is_another_generation(talk: Path, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Where an ffmpeg hears something else than before, what it hears now is sent, and none of what it heard before."""
    await interrupted(talk, "standard", tmp_path / "spool", ffmpeg, after_bytes=0)
    hush = tmp_path / "ffmpeg"
    # The words of the decoder's command, its filter made twice as quiet.
    quieter = (
        """for word; do shift; case "$word" in aresample*) word="$word,volume=0.5" ;; esac; set -- "$@" "$word"; done"""
    )
    hush.write_text(f'#!/bin/sh\nreal="{ffmpeg.path}"\n{quieter}\nexec "$real" "$@"\n')
    hush.chmod(0o700)
    info = await probe(talk)

    events: list[PreparingEvent] = []
    same_name = Ffmpeg(str(hush), ffmpeg.version, ffmpeg.build)
    await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=same_name, report=events.append)

    assert len({event.generation for event in events if isinstance(event, Begun)}) == 2


async def test_full_disk_is_waited_for(
    talk: Path,
    tmp_path: Path,
    ffmpeg: Ffmpeg,
    undisturbed: dict[RecipeName, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Told once, then gone on with by itself when there is room."""
    monkeypatch.setattr("preprocess.growth._ROOM_EVERY_S", 0.01)
    refusals = iter(range(3))

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if offset and next(refusals, None) is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(descriptor, data[:1000] if offset else data, offset)

    monkeypatch.setattr("preprocess.partial.os", SimpleNamespace(**{**vars(os), "pwrite": pwrite}))
    events: list[PreparingEvent] = []
    info = await probe(talk)
    artifact = await prepare(
        info,
        decide(info, "standard"),
        tmp_path / "spool",
        ffmpeg=ffmpeg,
        report=events.append,
        effort=Effort(waits_for_room=True),
    )

    assert [event.message for event in events if isinstance(event, Paused)] == [
        f"The disk of {str(tmp_path / 'spool')!r} is full."
    ]
    assert artifact.path.read_bytes() == undisturbed["standard"]
