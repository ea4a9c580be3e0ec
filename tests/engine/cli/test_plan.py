"""`speechstream plan`, as a person and a program read it."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from msgspec.structs import replace

from engine.cli.options import Rate
from engine.model import ArtifactRecord, Tally
from engine.runtime.manifest import Manifest
from tests.engine.world import JOB

if TYPE_CHECKING:
    from tests.engine.cli.conftest import Shell

FIXTURES = Path(__file__).parents[3] / "fixtures"
SPOKEN = FIXTURES / "spoken.mp4"


def test_a_table_for_people(shell: Shell) -> None:
    """What is known, a row a recipe with the one marked that is taken, the reason; and nothing is stored."""
    done = shell.run("plan", SPOKEN, "--uplink", "100kbit")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("spoken.mp4: mov, 16 s, 180 kB, with h264 320x180\n")
    assert "channels: left and right hold the same (mono)" in done.stdout
    assert "link: 100 kbit/s\n" in done.stdout
    assert re.search(r"^\*  standard +opus +1 +16 kHz +47 kB +[\d.]+ s +3.8 s +3.8 s$", done.stdout, re.MULTILINE)
    assert "auto takes standard: only the sound of a video is needed, 47 kB instead of 180 kB; 3.8 s" in done.stdout
    assert not (shell.home / "state").exists()


def test_a_row_that_cannot_be(shell: Shell) -> None:
    """A recipe that cannot work says why in its place."""
    done = shell.run("plan", FIXTURES / "spoken.wav")

    assert re.search(r"^   copy +The audio of 'spoken.wav' \(pcm_s16le\) cannot be copied", done.stdout, re.MULTILINE)
    assert "assumed, as nothing is known of it" in done.stdout


def test_json_for_programs(shell: Shell) -> None:
    """One object a recording, with every field that README's readers may build on."""
    done = shell.run("plan", SPOKEN, FIXTURES / "spoken.wav", "--json", "--uplink", "2MB/s", "--recipe", "lossless")

    film, sound = map(json.loads, done.stdout.splitlines())
    assert set(film) == {
        *("source", "format_name", "size_bytes", "duration_s", "video", "tracks", "mix", "mix_reason"),
        *("uplink_bits_s", "uplink_is_assumed", "cores", "speed", "speed_is_assumed"),
        *("rows", "wish", "recipe", "reason", "warnings"),
    }
    assert set(film["rows"][0]) == {
        *("recipe", "codec", "channels", "sample_rate_hz", "size_bytes"),
        *("prepare_s", "upload_s", "total_s", "refusal"),
    }
    assert (film["source"], film["uplink_bits_s"], film["uplink_is_assumed"]) == (str(SPOKEN), 16e6, False)
    assert (film["wish"], film["recipe"], film["reason"]) == ("lossless", "lossless", "lossless: as asked")
    assert (sound["video"], sound["tracks"][0]["sample_rate_hz"]) == (None, 16_000)


def test_a_recording_that_is_none(shell: Shell) -> None:
    """Its error is told, the others are planned, and the exit code says that something was wrong."""
    done = shell.run("plan", FIXTURES / "spoken.txt", SPOKEN)

    assert done.returncode == 1
    assert "spoken.txt" in done.stderr
    assert "auto takes" in done.stdout


def test_a_rate_that_is_none(shell: Shell) -> None:
    """It is told with examples of some."""
    done = shell.run("plan", SPOKEN, "--uplink=fast")

    assert done.returncode == 1
    assert "'fast' is no rate; write 5Mbit, 800kbit, 600kB/s or 2MB/s" in done.stderr


@pytest.mark.parametrize("rate", ["5", "0Mbit", "-5Mbit", "5 Mbyte", "1e3kbit", "", "5Mi/s", "5Mbit/h"])
def test_other_rates_that_are_none(rate: str) -> None:
    """Bits and bytes are told apart by their unit, so one is needed; and nothing is sent over a link of nothing."""
    with pytest.raises(click.BadParameter):
        Rate().convert(rate, None, None)


@pytest.mark.parametrize(
    ("rate", "bits_s"),
    [
        *(("5Mbit", 5e6), ("5mbit", 5e6), ("0.5 Mbit/s", 5e5), ("800kbit", 8e5), ("5Mbps", 5e6), ("5Mb/s", 5e6)),
        *(("600kB/s", 4.8e6), ("2MB/s", 16e6), ("1GB/s", 8e9), ("5MiB/s", 8 * 5 * 1024**2), ("100Bit/s", 100)),
    ],
)
def test_rates(rate: str, bits_s: float) -> None:
    """The ways in which rates are written."""
    assert Rate().convert(rate, None, None) == pytest.approx(bits_s)


def test_what_past_jobs_have_found(shell: Shell) -> None:
    """The link to the configured service, and the speed of this machine, are those of the last jobs."""
    artifact = ArtifactRecord("a.ogg", 3000, "audio/ogg", "old.ogg", "standard", is_source=False, speed=1.5)
    with Manifest(shell.home / "state") as manifest:
        manifest.find_or_add(replace(JOB, idempotency_key=uuid.uuid4().hex), new=True)
        manifest.note(JOB.id, uploaded_at=1.0, artifact=artifact)
        manifest.add_to_tally(JOB.id, Tally(sent_bytes=3_000_000, sending_s=2.0))

    known, other = (shell.run("plan", SPOKEN, "--endpoint", url).stdout for url in (JOB.endpoint, "https://o.example"))

    assert "link: 12.0 Mbit/s\n" in known
    assert "1.5 times as fast" in known
    assert "link: 5.0 Mbit/s, assumed" in other
    assert "link: 1000.0 Mbit/s\n" in shell.run("plan", SPOKEN, "--local").stdout


def test_this_machine_is_near(shell: Shell) -> None:
    """To the service built in there is no link to wait for."""
    assert "link: 1000.0 Mbit/s\n" in shell.run("plan", SPOKEN, "--local").stdout
