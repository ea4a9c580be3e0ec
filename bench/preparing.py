"""What preparing costs and how good it is, beside bare ffmpeg: speed, joins, words, memory, and uploading meanwhile.

    .venv/bin/python -m bench.preparing speed --minutes 120 --rounds 3
    .venv/bin/python -m bench.preparing joins
    .venv/bin/python -m bench.preparing words
    .venv/bin/python -m bench.preparing together --minutes 60
    .venv/bin/python -m bench.preparing memory --hours 25

Every recording is made of the speech in `fixtures/`, here and now.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import math
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from array import array
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from preprocess import find_ffmpeg
from preprocess.slices import PcmFormat, Slicer

from .record import keep

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("speechstream")
# Installers compile what they install; a folder of sources compiles itself at the first run, unless it is told not to.
AS_INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
SPOKEN = ROOT / "fixtures" / "spoken.wav"
SPOKEN_S = 16.425
FFMPEG = find_ffmpeg().path
QUIET = (FFMPEG, "-nostdin", "-v", "error", "-y")
PLAIN = ("-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
SOUND = ("-map", "0:a:0", "-vn", "-sn", "-dn")
TIMELINE = ("-af", "aresample=16000:async=1:first_pts=0", "-ac", "1")
OPUS = ("-c:a", "libopus", "-b:a", "24k", "-application", "voip")
FRAGMENTS = ("-movflags", "+delay_moov+default_base_moof+frag_keyframe+skip_trailer", "-frag_duration", "10000000")
COPY = ("-c:a", "copy", "-f", "mp4", *FRAGMENTS)
RATE_HZ = 16_000
AFTER_JOIN_S = 0.06
LINK_BYTES_S = 250_000  # 2 Mbit/s


def ffmpeg(*arguments: str | Path) -> None:
    """Run it to its end."""
    subprocess.run([*QUIET, *map(str, arguments)], check=True)


def speech(path: Path, seconds: float, *options: str) -> Path:
    """So much speech, in a loop."""
    ffmpeg("-stream_loop", str(math.ceil(seconds / SPOKEN_S)), "-i", SPOKEN, "-t", str(seconds), *options, path)
    return path


def lecture(folder: Path, minutes: float) -> Path:
    """A 720p video of so many minutes with speech in AAC, as a camera writes it."""
    minute, path = folder / "minute.mp4", folder / "lecture.mp4"
    picture = "testsrc2=s=1280x720:r=25:d=60,noise=alls=20:allf=t"
    rate = ("-b:v", "1500k", "-maxrate", "1500k", "-bufsize", "3000k")
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "ultrafast", *rate, minute)
    sound = speech(folder / "sound.m4a", 60 * minutes, "-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2")
    picture_loop = ("-stream_loop", str(math.ceil(minutes)), "-i", minute)
    ffmpeg(*picture_loop, "-i", sound, "-map", "0:v", "-map", "1:a", "-c", "copy", "-t", str(60 * minutes), path)
    return path


def pcm(path: Path, *options: str) -> array[int]:
    """All samples of a file, at 16 kHz in mono."""
    command = [*QUIET, "-i", str(path), *SOUND, *options, "-ar", str(RATE_HZ), "-ac", "1", "-f", "s16le", "-"]
    return array("h", subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s


def prepared(recording: Path, recipe: str, output: Path) -> None:
    """Prepare with our command."""
    words: list[str | Path] = [COMMAND, "prepare", recording, "--recipe", recipe, "-o", output, "--progress", "none"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=AS_INSTALLED)


def in_turn(rounds: int, contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median of each contestant's seconds, all of them in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, work in contestants.items():
            seconds[name].append(timed(work))
            print(f"round {number + 1}: {name} {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)
    return {name: statistics.median(found) for name, found in seconds.items()}


def speed(folder: Path, minutes: float, rounds: int) -> dict[str, object]:
    """Our command beside the single ffmpeg command that makes the same artifact."""
    video = lecture(folder, minutes)
    ours, bare = folder / "ours.ogg", folder / "bare.ogg"
    found = in_turn(
        rounds,
        {
            "standard": lambda: prepared(video, "standard", ours),
            "standard, bare ffmpeg": lambda: ffmpeg("-i", video, *SOUND, *TIMELINE, *PLAIN, *OPUS, "-f", "ogg", bare),
            "copy": lambda: prepared(video, "copy", folder / "ours.m4a"),
            "copy, bare ffmpeg": lambda: ffmpeg("-i", video, *SOUND, *PLAIN, *COPY, folder / "bare.m4a"),
        },
    )
    told = subprocess.run(
        [*QUIET, "-i", str(video), *SOUND, *TIMELINE, "-f", "s16le", "-"], check=True, stdout=subprocess.PIPE
    )
    return {
        "minutes": minutes,
        "video_bytes": video.stat().st_size,
        "seconds": found,
        "standard_against_ffmpeg": found["standard, bare ffmpeg"] / found["standard"],
        "copy_against_ffmpeg": found["copy, bare ffmpeg"] / found["copy"],
        "copy_is_the_same_bytes": filecmp.cmp(folder / "ours.m4a", folder / "bare.m4a", shallow=False),
        "samples": {"sound": len(told.stdout) // 2, "ours": len(pcm(ours)), "bare ffmpeg": len(pcm(bare))},
    }


def joins(folder: Path) -> dict[str, object]:
    """How far the splice is from a one-shot encode just after its joins, beside how far ordinary encodes are."""
    sound = speech(folder / "speech.wav", 30 * 60)
    prepared(sound, "standard", folder / "ours.ogg")
    ours, original = pcm(folder / "ours.ogg"), pcm(sound)
    encodes: dict[str, array[int]] = {}
    for name, options in {
        "24k": (),
        "24k, complexity 5": ("-compression_level", "5"),
        "26k": ("-b:a", "26k"),
    }.items():
        ffmpeg("-i", sound, *PLAIN, *OPUS, *options, "-f", "ogg", folder / "other.ogg")
        encodes[name] = pcm(folder / "other.ogg")
    slicer = Slicer(PcmFormat(RATE_HZ, 1))
    slices = slicer.feed(original.tobytes())
    places = [piece.first_frame * RATE_HZ // 50 for piece in slices[1:]]
    once = encodes.pop("24k")
    return {
        "joins": len(places),
        "decibels_to_one_shot_after_joins": {
            "ours": apart(once, ours, places),
            **{name: apart(once, other, places) for name, other in encodes.items()},
        },
        "largest_step": {
            "ours": max(step(ours, place) for place in places),
            "one shot": max(step(once, place) for place in places),
        },
    }


def apart(one: array[int], other: array[int], places: list[int]) -> float:
    """Median over the places of the power of the difference, in decibels to the sound's."""
    found = []
    for place in places:
        until = place + round(AFTER_JOIN_S * RATE_HZ)
        mine, theirs = one[place:until], other[place:until]
        power = sum(map(operator.mul, mine, mine)) or 1
        difference = array("i", map(operator.sub, mine, theirs))
        found.append(10 * math.log10((sum(map(operator.mul, difference, difference)) or 1) / power))
    return round(statistics.median(found), 1)


def step(sound: array[int], place: int) -> int:
    """The largest difference between neighbouring samples around a place: a click is one."""
    near = sound[place - 160 : place + 960]
    return max(abs(after - before) for before, after in pairwise(near))


def words(folder: Path) -> dict[str, object]:
    """What the offline recogniser hears in each artifact, beside what it hears in the recording."""
    recording = speech(folder / "speech.wav", 3 * SPOKEN_S)
    heard: dict[str, list[str]] = {"WAV at 16 kHz": recognised(recording)}
    for recipe in ("lossless", "standard"):
        prepared(recording, recipe, folder / "artifact")
        heard[recipe] = recognised(folder / "artifact")
    for rate in ("32k", "48k"):
        ffmpeg("-i", recording, *PLAIN, *OPUS, "-b:a", rate, "-f", "ogg", folder / "other.ogg")
        heard[f"Opus {rate}"] = recognised(folder / "other.ogg")
    original = heard["WAV at 16 kHz"]
    return {
        "words": len(original),
        "other_words_than_in_wav": {name: differing(original, text) for name, text in heard.items()},
        "between_32k_and_48k": differing(heard["Opus 32k"], heard["Opus 48k"]),
        "between_standard_and_32k": differing(heard["standard"], heard["Opus 32k"]),
    }


def recognised(path: Path) -> list[str]:
    """The words of a file, by pocketsphinx and its own model."""
    import pocketsphinx

    decoder = pocketsphinx.Decoder(loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(pcm(path).tobytes(), no_search=False, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr.split() if found else []


def differing(one: list[str], other: list[str]) -> int:
    """How many words must be replaced, added or left out to make one text of the other (Levenshtein's distance)."""
    row = list(range(len(other) + 1))
    for number, word in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, another in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != another))
    return row[-1]


def together(folder: Path, minutes: float, rounds: int) -> dict[str, object]:
    """Preparing and uploading at once over 2 Mbit/s, beside each alone."""
    from tests.faults.command import environment
    from tests.faults.plan import Plan
    from tests.faults.proxy import FaultProxy
    from tests.faults.service import Service

    recording, artifact = speech(folder / "speech.wav", 60 * minutes), folder / "artifact.ogg"
    with Service(folder / "service") as service, FaultProxy("127.0.0.1", service.port) as proxy:
        proxy.plan = Plan(common_rate_bytes_per_s=LINK_BYTES_S)

        def upload(path: Path, recipe: str) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as state:
                given = environment(Path(state), f"http://127.0.0.1:{proxy.port}/v1")
                words: list[str | Path] = [COMMAND, "upload", path, "--recipe", recipe, "--new", "--progress", "none"]
                subprocess.run(words, check=True, env=given, stdout=subprocess.DEVNULL)

        found = in_turn(
            rounds,
            {
                "prepare": lambda: prepared(recording, "standard", artifact),
                "upload": lambda: upload(artifact, "as-is"),
                "both": lambda: upload(recording, "standard"),
            },
        )
    longer = max(found["prepare"], found["upload"])
    return {
        "minutes": minutes,
        "artifact_bytes": artifact.stat().st_size,
        "seconds": found,
        "both_against_longer": found["both"] / longer,
    }


def memory(folder: Path, hours: float) -> dict[str, object]:
    """The largest resident memory of all our processes together, ffmpeg left out, over a very long recording."""
    path = folder / "day.wav"
    with wave.open(str(SPOKEN)) as once:
        sound, parameters = once.readframes(once.getnframes()), once.getparams()
    with path.open("wb") as file:
        content = round(hours * 3600 * parameters.framerate) * 2
        # A 25 h recording at 16 kHz has 2.9 GB: within what a WAV header can say.
        sizes = ((36 + content).to_bytes(4, "little"), content.to_bytes(4, "little"))
        head = b"RIFF" + sizes[0] + b"WAVEfmt " + (16).to_bytes(4, "little") + b"\1\0\1\0"
        head += RATE_HZ.to_bytes(4, "little") + (2 * RATE_HZ).to_bytes(4, "little") + b"\2\0\x10\0data" + sizes[1]
        file.write(head)
        for _ in range(content // len(sound)):
            file.write(sound)
        file.write(sound[: content % len(sound)])
    output = folder / "day.ogg"
    command: list[str | Path] = [COMMAND, "prepare", path, "--recipe", "standard", "-o", output, "--progress", "none"]
    began_s, peak = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(0.25)
    seconds = time.monotonic() - began_s
    return {
        "hours": hours,
        "seconds": seconds,
        "status": process.returncode,
        "artifact_bytes": output.stat().st_size,
        "peak_mib": peak >> 20,
    }


def resident_bytes(pid: int) -> int:
    """Of a process and all below it, programs named ffmpeg left out.

    A child that is still called as its parent is about to become another program, and has the parent's own memory until
    then (vfork(2)).
    """
    total = 0
    try:
        first = psutil.Process(pid)
        words = first.cmdline()
        total = first.memory_info().rss
        for process in first.children(recursive=True):
            if "ffmpeg" not in process.name() and process.cmdline() != words:
                total += process.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total


def main() -> int:
    """Run one bench and print what it found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bench", choices=["speed", "joins", "words", "together", "memory"])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--hours", type=float, default=25.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        found = {
            "speed": lambda: speed(folder, options.minutes, options.rounds),
            "joins": lambda: joins(folder),
            "words": lambda: words(folder),
            "together": lambda: together(folder, options.minutes, options.rounds),
            "memory": lambda: memory(folder, options.hours),
        }[options.bench]()
    found["load"] = os.getloadavg()[0]
    print(json.dumps(found, indent=2))
    if options.json:
        used = {"speed": "minutes rounds", "together": "minutes rounds", "memory": "hours"}.get(
            options.bench, ""
        ).split()
        given = [f"--{name} {getattr(options, name):g}" for name in used]
        keep(options.json, " ".join(["python -m bench.preparing", options.bench, *given]), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
