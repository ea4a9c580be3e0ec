"""The choices that belong to a job: its recipe and its track."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace as changed

import preprocess
from engine.errors import KeyRejected, UserError
from engine.events import Decided, Warned
from engine.model import ArtifactRecord, Tally
from engine.runtime.manifest import Manifest
from tests.engine.house import PATCH, House, refusing
from tests.engine.world import JOB
from tests.faults.recording import write_wav
from tests.faults.scripted import TEXT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def bilingual(house: House) -> Path:
    """A recording with a German and an English track, in the place of the house's own."""
    tones = ("-f", "lavfi", "-i", "sine=f=300:d=2", "-f", "lavfi", "-i", "sine=f=900:d=2", "-map", "0", "-map", "1")
    languages = ("-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "language=eng")
    ffmpeg = preprocess.find_ffmpeg().path
    words = (ffmpeg, "-nostdin", "-v", "error", "-y", *tones, "-c:a", "flac", *languages, "-f", "matroska")
    subprocess.run((*words, str(house.recording)), check=True)
    return house.recording


def uploaded(house: House, *, mbit_s: float, speed: float | None = None) -> None:
    """Five uploads that this machine has made over such a link, as the manifest remembers them."""
    artifact = ArtifactRecord("artifact.ogg", 3000, "audio/ogg", "old.ogg", "standard", is_source=False, speed=speed)
    with Manifest(house.state) as manifest:
        for number in range(5):
            past = changed(JOB, id=f"past{number}", endpoint=house.service.endpoint, idempotency_key=uuid.uuid4().hex)
            manifest.find_or_add(past, new=True)
            manifest.note(past.id, uploaded_at=float(number), artifact=artifact)
            manifest.add_to_tally(past.id, Tally(sent_bytes=10_000_000, sending_s=80 / mbit_s))


def decided(house: House) -> list[str]:
    """The recipes that were announced, in the order of the runs."""
    return [event.recipe for event in house.told.of(Decided) if isinstance(event, Decided)]


async def test_auto_reckons_with_the_link_that_uploads_have_found(house: House) -> None:
    """The same recording goes without loss over a good link and as speech over a bad one."""
    write_wav(house.recording, 6_000_000, seed=1)
    uploaded(house, mbit_s=100)
    async with house.client(recipe="auto") as client:
        fast = await client.open(house.recording)
    write_wav(house.recording, 6_000_000, seed=2)
    uploaded_later = replace(house, state=house.state / "other")
    uploaded(uploaded_later, mbit_s=0.3)
    async with uploaded_later.client(recipe="auto") as client:
        slow = await client.open(house.recording)

    assert (fast.chosen, slow.chosen) == ("as-is", "standard")
    assert "at 100 Mbit/s" in (fast.decision or "")
    assert "at 300 kbit/s" in (slow.decision or "")


async def test_a_resume_takes_the_recipe_that_was_begun_with(house: House) -> None:
    """Over a link of which nothing is known it would be another; that is no reason to encode once more."""
    uploaded(house, mbit_s=0.3)
    write_wav(house.recording, 2_000_000, seed=1)
    house.service.replying = refusing(PATCH)
    async with house.client(recipe="auto") as client:
        job = await client.open(house.recording)
        with pytest.raises(KeyRejected):
            await client.transcribe(house.recording)
    house.service.replying = lambda _: None
    with Manifest(house.state) as manifest:
        manifest.prepare_again(job.id)
    async with house.client(recipe="auto") as client:
        assert (await client.transcribe(house.recording)).text == TEXT

    assert decided(house) == ["standard", "standard"]


async def test_a_track_belongs_to_the_job(house: House, bilingual: Path) -> None:
    """It is asked for once: a resume, and the same command without it, keep it."""
    async with house.client(recipe="lossless", track="en") as client:
        job = await client.open(bilingual)
    async with house.client(recipe="lossless") as client:
        assert (await client.open(bilingual)).id == job.id
        await client.transcribe(bilingual)

    assert job.track == "en"
    assert [event.message for event in house.told.of(Warned) if isinstance(event, Warned)] == [
        "Audio track 2 of 2 (eng) is used; the others are left out."
    ]


async def test_another_track_is_another_job(house: House, bilingual: Path) -> None:
    """One recording makes one job unless somebody says that it shall be two."""
    async with house.client(recipe="auto", track="1") as client:
        job = await client.open(bilingual)
    async with house.client(recipe="auto", track="2") as client:
        with pytest.raises(UserError, match=f"already is job {job.id}, with track 1") as refusal:
            await client.open(bilingual)

    assert "`--new` makes a second job with track 2" in (refusal.value.hint or "")


async def test_a_track_that_is_not_there_makes_no_job(house: House, bilingual: Path) -> None:
    """The tracks that are there are listed, and nothing is stored."""
    async with house.client(recipe="auto", track="fr") as client:
        with pytest.raises(UserError, match=r"no audio track 'fr'. It has: 1 \(ger, flac, 1 channel.*; 2 \(eng"):
            await client.open(bilingual)
        assert client.jobs() == []


async def test_as_it_is_there_is_no_choice_of_a_track(house: House, bilingual: Path) -> None:
    """A recording that is sent whole has all its tracks."""
    async with house.client(recipe="as-is", track="2") as client:
        with pytest.raises(UserError, match="has all its tracks"):
            await client.open(bilingual)
        with pytest.raises(UserError, match="with all of them"):
            await client.upload_growing(bilingual)
