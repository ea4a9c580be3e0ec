"""Makes an Opus artifact on all processors: decoded once, cut into slices, each encoded by itself, spliced into one.

Seeking to a slice's beginning would be simpler and is wrong: for Matroska, MP3 and AAC it gives other samples, or
another number of them. So one ffmpeg decodes everything in order, and an earlier run's slices are recognised by
their sound.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import xxhash
from msgspec import Struct, field

from .child import Limits, ask
from .command import decode_command, pcm_format, slice_command
from .diagnosis import diagnose
from .encode import accept
from .encoders import shared
from .errors import ToolCrashed
from .journal import Note
from .ogg import OggError
from .partial import Diverged
from .run import FfmpegRun
from .slices import Slicer
from .splice import head_pages, pages, segment
from .together import together

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream

    from .ffmpeg_binary import Ffmpeg
    from .growth import Growth
    from .log import Losses
    from .media import MediaInfo
    from .recipes import Recipe
    from .segments import Segments
    from .slices import Slice
    from .splice import Segment

_WORKERS_MAX: Final = 8  # more than one decoder can feed
_SLICE_CPU_S: Final = 900  # a minute of sound takes a second
_SLICE_PATIENCE_S: Final = 900.0


def worker_count() -> int:
    """How many slices are encoded at a time: one for every processor that this process may use."""
    return min(_WORKERS_MAX, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class _Slot(Struct):
    """A slice's place in the row; `segment` stays None for one whose bytes are in the artifact already."""

    piece: Slice
    sound: str
    segment: Segment | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class ParallelEncoding:
    """One run over one recording."""

    def __init__(
        self, info: MediaInfo, recipe: Recipe, ffmpeg: Ffmpeg, growth: Growth, segments: Segments, *, workers: int
    ) -> None:
        self._info = info
        self._ffmpeg = ffmpeg
        self._recipe = recipe
        self._growth = growth
        self._segments = segments
        self._pcm = pcm_format(info, recipe)
        self._slicer = Slicer(self._pcm)
        self._workers = anyio.CapacityLimiter(workers)
        self._encoders = shared(worker_count())
        self._recording = self._encoders.begin()
        self._places = 2 * workers  # so many slices may wait for the one before them
        self._next = 0
        self._pages = 0
        self._encoded_s = 0.0
        self._began_s = time.monotonic()

    async def run(self, limits: Limits) -> Losses:
        """Make the artifact. Returns what of the recording could not be read.

        Raises:
            PreprocessError: ffmpeg failed, the disk did, or other sound came out than in an earlier run.
        """
        decoder = FfmpegRun(lambda: None)
        send, receive = anyio.create_memory_object_stream[_Slot](self._places)
        async with together() as tasks:
            tasks.start_soon(self._write_in_order, receive)
            async with together() as encoders, send:

                async def enter(piece: Slice) -> None:
                    slot = _Slot(piece, xxhash.xxh3_128_hexdigest(piece.overlap + piece.sound))
                    try:
                        await send.send(slot)
                    except anyio.BrokenResourceError:  # who writes has failed, which ends this task in a moment
                        await anyio.sleep_forever()
                    encoders.start_soon(self._fill, slot)

                async def take(chunk: bytes) -> None:
                    for piece in self._slicer.feed(chunk):
                        await enter(piece)

                answer = await decoder.run(self._decode, limits, take)
                accept(self._info, decoder, answer)
                last = self._slicer.finish()
                if last is not None:
                    await enter(last)
        return decoder.losses

    def _decode(self, progress_fd: int) -> list[str]:
        return decode_command(self._info, self._recipe, self._ffmpeg, progress_fd=progress_fd)

    # -- one slice -------------------------------------------------------------------------------

    async def _fill(self, slot: _Slot) -> None:
        index = slot.piece.index
        known = self._growth.partial.note_of(index)
        if known is not None and known.sound != slot.sound:
            raise Diverged(f"{self._info.path.name!r} sounds other than before at {self._start_s(slot.piece):.0f} s.")
        if known is None:
            slot.segment = await anyio.to_thread.run_sync(self._segments.load, index, slot.sound)
        if known is None and slot.segment is None:
            # kept until it is on the disk: a kill costs no more slices than there are workers
            async with self._workers, self._encoders.place(self._recording, index):
                slot.segment = made = await self._encode(slot.piece)
                if index != self._next:
                    await self._growth.with_room(lambda: self._segments.save(index, slot.sound, made))
        slot.done.set()

    async def _encode(self, piece: Slice) -> Segment:
        command = slice_command(self._recipe, self._pcm, self._ffmpeg)
        sound = piece.overlap + piece.sound
        answer = await ask(command, Limits(_SLICE_CPU_S), timeout_s=_SLICE_PATIENCE_S, spoken=sound)
        if answer.status != 0:
            raise diagnose(self._info.path, answer.status, answer.last_words)
        try:
            made = await anyio.to_thread.run_sync(segment, answer.output, piece, self._pcm)
        except OggError as error:
            raise ToolCrashed(f"ffmpeg's output is not whole: {error}.", hint="Run the same command again.") from error
        self._encoded_s += len(piece.sound) / self._pcm.sample_bytes / self._pcm.rate_hz
        return made

    # -- all of them in order --------------------------------------------------------------------

    async def _write_in_order(self, slots: MemoryObjectReceiveStream[_Slot]) -> None:
        async with slots:
            async for slot in slots:
                await slot.done.wait()
                await self._write(slot)
                self._next = slot.piece.index + 1
                self._tell(slot.piece)

    async def _write(self, slot: _Slot) -> None:
        growth, index = self._growth, slot.piece.index
        if slot.segment is None:
            note = growth.partial.note_of(index)
            if note is not None:
                await anyio.to_thread.run_sync(growth.partial.keep, note)
                self._pages += note.pages
            return
        written = head_pages(slot.segment) if index == 0 else []
        written += pages(slot.segment, slot.piece, self._pcm, self._pages + len(written))
        content = b"".join(written)
        await growth.append(content)
        stop_bytes, digest = growth.partial.size_bytes, xxhash.xxh3_128_hexdigest(content)
        await growth.sync(Note(stop_bytes, index, len(written), slot.sound, digest))
        self._pages += len(written)
        self._segments.drop(index)

    def _tell(self, piece: Slice) -> None:
        growth = self._growth
        growth.done_s = self._start_s(piece) + len(piece.sound) / self._pcm.sample_bytes / self._pcm.rate_hz
        growth.speed = self._encoded_s / max(time.monotonic() - self._began_s, 0.001) or None
        growth.tell()

    def _start_s(self, piece: Slice) -> float:
        return piece.first_frame * self._pcm.frame_samples / self._pcm.rate_hz
