"""Recordings of any kind to 16 kHz mono 16-bit PCM, by an ffmpeg that may touch nothing but the recording."""

import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from .confine import die_with_parent

FRAME_RATE = 16_000  # what the acoustic model was trained on
_FRAME_BYTES = 2

# Demuxers of recordings. Left out are those that read other files or the network (HLS, DASH, concat) and
# those with a history of such holes (CVE-2016-1897, CVE-2023-6603).
_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,mxf,"
    "ogg,tta,voc,w64,wav,wv"
)
_CPU_S = 7200  # of ffmpeg alone; decoding two days of speech takes minutes
LONGEST_S = 24 * 3600  # a few bytes of a lossless codec can stand for years of silence
_SILENT_S = 60.0  # without any output ffmpeg counts as stuck
_READ_BYTES = 64 << 10
_ERROR_BYTES = 4096


class DecodeError(Exception):
    """The recording cannot be decoded, or has no audio; the message is for its owner."""


def _command(path: Path) -> list[str]:
    program = shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()
    options = f"-nostdin -hide_banner -nostats -v error -timelimit {_CPU_S} -protocol_whitelist file"
    source = ["-format_whitelist", _FORMATS, "-i", f"file:{path.resolve()}"]
    output = f"-map 0:a:0 -vn -sn -dn -t {LONGEST_S + 1} -ac 1 -ar {FRAME_RATE} -f s16le pipe:1"
    return [program, *options.split(), *source, *output.split()]


@contextmanager
def decoded(path: Path) -> Iterator[Iterator[bytes]]:
    """Decode a recording piece by piece.

    Raises:
        DecodeError: Nothing in it can be decoded.
    """
    with subprocess.Popen(  # noqa: S603 - a fixed command; the path is one argument behind "file:"
        _command(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - the worker has one thread
    ) as process:
        try:
            if process.stdout is None or process.stderr is None:
                raise DecodeError("the decoder has no output")
            yield _pieces(process, process.stdout, process.stderr)
        finally:
            process.kill()


def _pieces(process: "subprocess.Popen[bytes]", pcm: IO[bytes], errors: IO[bytes]) -> Iterator[bytes]:
    complaint = b""
    audio_bytes = 0
    streams = [pcm, errors]
    while streams:
        ready, _, _ = select.select(streams, [], [], _SILENT_S)
        if not ready:
            raise DecodeError("the decoder is stuck in this recording")
        for stream in ready:
            data = stream.read(_READ_BYTES)
            if not data:
                streams.remove(stream)
            elif stream is errors:
                complaint = (complaint + data)[-_ERROR_BYTES:]
            else:
                audio_bytes += len(data)
                if audio_bytes > LONGEST_S * FRAME_RATE * _FRAME_BYTES:
                    raise DecodeError(f"the recording is longer than {LONGEST_S // 3600} hours")
                yield data
    process.wait()
    if not audio_bytes:
        raise DecodeError(_reason(complaint.decode("utf-8", "replace")))


def _reason(complaint: str) -> str:
    if "matches no streams" in complaint:
        return "the recording has no audio track"
    if "moov atom not found" in complaint:
        return "the recording was not finished: its index is missing"
    return "the recording cannot be decoded, or holds no audio"
