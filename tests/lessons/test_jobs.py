"""Jobs that others' users paid for and lost, or paid for twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.errors import GaveUp, KeyRejected
from tests.faults.command import Command, environment
from tests.faults.scripted import TEXT, Asked, Moment, ScriptedService, Strike, reply
from tests.lessons.home import CREATION, PATCH, STATUS, SUBMIT, Home, from_nth
from tests.lessons.shell import make_recording

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S = 3600.0


@pytest.mark.anyio
async def test_assemblyai_an_hour_of_broken_connections_while_polling_end_no_job(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every status call breaks off for more than an hour; the transcript comes with the first that does not."""
    monkeypatch.setattr(home.clock, "chance", lambda: 0.99)  # the longest waits there are
    service, began_s = home.service, home.clock.now_s
    service._strike = Strike(6, Moment.BEFORE, blows=250)
    assert await home.transcribe() == TEXT
    assert home.clock.now_s - began_s > HOUR_S
    assert (len(service.jobs), service.requests.count(SUBMIT), service.requests.count(STATUS)) == (1, 1, 1)


@pytest.mark.anyio
async def test_assemblyai_node_17_a_job_is_had_by_its_id_at_any_later_time(home: Home, tmp_path: Path) -> None:
    """Given up while polling, it is there a week later: for the same call, by its id, and on another machine."""
    service = home.service
    service.replying = from_nth(STATUS, 1, reply(502))
    with pytest.raises(GaveUp) as caught:
        await home.transcribe(retry_for_s=60.0)
    assert "speechstream resume" in str(caught.value.hint)
    (processing_id,) = service.jobs
    home.clock.now_s += 7 * 24 * HOUR_S
    service.replying = lambda _: None

    assert await home.transcribe() == TEXT
    async with home.client() as client:
        assert (await client.wait(processing_id)).text == TEXT
    async with replace(home, state=tmp_path / "another machine").client() as client:
        assert (await client.wait(processing_id)).text == TEXT

    assert (len(service.jobs), service.requests.count(SUBMIT), service.requests.count(CREATION)) == (1, 1, 1)


def test_openai_python_the_key_is_sent_and_outlives_the_process(tmp_path: Path) -> None:
    """Killed at a submission whose answer is lost: every submission of both lives carries one and the same key."""
    recording, keys = make_recording(tmp_path, 300_000), []

    def noting(asked: Asked) -> None:
        if asked.route == SUBMIT:
            keys.append(asked.headers.get("idempotency-key"))

    words = ("upload", str(recording), "--recipe", "as-is")
    with ScriptedService(Strike(4, Moment.LOST)) as service:
        service.replying = noting
        with Command(words, environment(tmp_path / "state", service.endpoint)) as command:
            service.on_strike = command.kill_now
            assert command.finish()[0] == -9
        with Command(words, environment(tmp_path / "state", service.endpoint)) as command:
            assert command.finish() == (0, "job-1\n")
        assert list(service.jobs.values()) == [recording.read_bytes()]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert keys[0]


@pytest.mark.anyio
async def test_azure_storage_explorer_8200_a_key_that_expires_half_way_costs_no_byte(home: Home) -> None:
    """The old key is refused at once and not repeated; with the new one only what is missing is sent."""
    service = home.service
    taken: list[int] = []
    refused: list[str] = []

    def expiring(asked: Asked) -> bytes | None:
        if asked.headers["authorization"] == "Bearer sk-first" and taken:
            refused.append(asked.route)
            return reply(401)
        if asked.route == PATCH:
            taken.append(len(asked.body))
        return None

    service.replying = expiring
    with pytest.raises(KeyRejected) as caught:
        await home.transcribe()
    assert (caught.value.exit_code, refused) == (75, [PATCH])
    assert "SPEECHSTREAM_API_KEY" in str(caught.value.hint)

    assert await home.transcribe(api_key="sk-second") == TEXT

    assert sum(taken) == home.recording.stat().st_size
    assert len(service.uploads) == 1
    assert list(service.jobs.values()) == [home.recording.read_bytes()]
