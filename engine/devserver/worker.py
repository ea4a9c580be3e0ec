"""The transcriber's process: ``python -m engine.devserver.worker RECORDING SERVER_PID``.

Writes one JSON object to stdout, ``{"text": ...}``, or ``{"message": ...}`` for a recording that cannot be
transcribed, and exits with 0. Any other end is a crash. It can write no file, and dies with the server.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from pocketsphinx import Decoder, Endpointer

from .confine import die_with_parent, leave_network
from .decode import FRAME_RATE, DecodeError, decoded

_ADDRESS_SPACE_BYTES = 4 << 30  # model and search take 0.3 GiB, ffmpeg less than 2 for any preset
_OPEN_FILES = 64
_UTTERANCE_S_MAX = 30.0  # the search's memory and time grow with the utterance


def _confine(server: int) -> None:
    """Die with the server, write no file and speak to no network, whatever a recording makes a decoder do."""
    if sys.platform == "linux":
        leave_network()
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # short of memory, the worker goes first
        die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
    _require(server)


def _require(server: int) -> None:
    """End with the server where the kernel does not see to it."""
    if os.getppid() != server:
        sys.exit(1)


def _frames(pcm: Iterator[bytes], frame_bytes: int) -> Iterator[bytes]:
    rest = b""
    for piece in pcm:
        data = rest + piece
        whole = len(data) - len(data) % frame_bytes
        for start in range(0, whole, frame_bytes):
            yield data[start : start + frame_bytes]
        rest = data[whole:]
    if rest:
        yield rest.ljust(frame_bytes, b"\0")


def _words(pcm: Iterator[bytes], server: int) -> Iterator[str]:
    """Recognise utterance by utterance, as pauses divide them."""
    decoder = Decoder(samprate=FRAME_RATE, loglevel="FATAL")
    endpointer = Endpointer(sample_rate=FRAME_RATE)
    longest = int(_UTTERANCE_S_MAX / endpointer.frame_length)
    frames = 0
    for frame in _frames(pcm, endpointer.frame_bytes):
        speech = endpointer.process(frame)
        if speech is not None:
            if not frames:
                _require(server)
                decoder.start_utt()
            decoder.process_raw(speech)
            frames += 1
        if frames and (not endpointer.in_speech or frames >= longest):
            frames = 0
            yield _heard(decoder)
    if frames:
        yield _heard(decoder)


def _heard(decoder: Decoder) -> str:
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return "" if hypothesis is None else str(hypothesis.hypstr)


def main() -> None:
    """Transcribe the recording named on the command line."""
    recording, server = Path(sys.argv[1]), int(sys.argv[2])
    _confine(server)
    try:
        with decoded(recording) as pcm:
            reply = {"text": " ".join(filter(None, _words(pcm, server)))}
    except DecodeError as error:
        reply = {"message": str(error)}
    sys.stdout.write(json.dumps(reply))


if __name__ == "__main__":
    main()
