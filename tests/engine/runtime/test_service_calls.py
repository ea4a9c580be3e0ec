"""Submission and polling: one job for one upload, and its transcript however long it takes."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from engine.core.retry import RetryPolicy
from engine.errors import GaveUp, JobFailed, KeyRejected, ServiceError, UnexpectedReply, UploadRefused
from engine.events import Polled
from engine.redaction import Secret
from engine.runtime import polling, submission
from engine.runtime.exchange import Exchanger
from engine.runtime.persist import Persistence
from engine.runtime.submission import Lost, Why
from engine.runtime.turns import Turns
from engine.wire.service import Submission
from tests.engine.world import Act, Script, answers, breaks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from engine.runtime.manifest import Manifest
    from tests.engine.world import Events, FakeClock

pytestmark = pytest.mark.anyio
SERVICE = "https://speech.example/v1"
UPLOAD = Submission(Secret(f"{SERVICE}/uploads/7c9e6679f7425d40"), 3, "a.ogg", 8, b"d" * 16, (b"p" * 16,), "6f1d")
MADE = answers(200, b'{"processing_id": "id-1"}')
WORKING = answers(200, b'{"status": "processing"}')
DONE = answers(200, b'{"status": "completed", "transcription": "hello"}')


class Calls:
    """The two calls against a scripted service, in made-up time."""

    def __init__(self, manifest: Manifest, clock: FakeClock, told: Events) -> None:
        self._manifest, self.clock, self.told = manifest, clock, told
        self.script = Script()
        self.policy = RetryPolicy()

    @asynccontextmanager
    async def _opened(self, acts: tuple[Act, ...]) -> AsyncIterator[tuple[Exchanger, Turns, Persistence]]:
        self.script = Script(*acts)
        exchanger = Exchanger(self.clock, user_agent="test", transport=self.script)
        turns = Turns(self._manifest, self.clock, self.told.append, "account")
        persistence = Persistence("k3f9qz", self.clock, exchanger.brake, self.told.append, self.policy)
        try:
            yield exchanger, turns, persistence
        finally:
            await exchanger.aclose()

    async def submit(self, *acts: Act) -> str | Lost:
        """Submit to a service that answers so."""
        async with self._opened(acts) as (exchanger, turns, persistence):
            return await submission.submit(SERVICE, UPLOAD, exchanger, turns, persistence)

    async def wait(self, *acts: Act) -> str:
        """Wait for the transcript of a service that answers so."""
        async with self._opened(acts) as (exchanger, turns, persistence):
            return await polling.until_done(SERVICE, "id-1", exchanger, turns, persistence)


@pytest.fixture
def calls(manifest: Manifest, clock: FakeClock, told: Events) -> Calls:
    """Nothing has been asked yet."""
    return Calls(manifest, clock, told)


async def test_a_submission_is_repeated_word_for_word_until_it_is_answered(calls: Calls) -> None:
    """Cut, unanswered, torn, portal and busy: the same request with the same key, and one id in the end."""
    answer = await calls.submit(
        breaks(httpx.ConnectError("refused")),
        breaks(httpx.ReadError("reset")),
        answers(200, b'{"processing_id": "id'),
        answers(200, b"<html>Please log in</html>"),
        answers(307, location="https://login.hotel.example/"),
        answers(503, retry_after="30"),
        answers(502),
        MADE,
    )
    assert answer == "id-1"
    bodies = {request.content for request in calls.script.seen[2:]}
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["size"] == 3
    assert {request.headers["idempotency-key"] for request in calls.script.seen} == {'"6f1d"'}


@pytest.mark.parametrize(
    ("reply", "lost"),
    [
        (answers(404), Lost(Why.GONE)),
        (answers(410), Lost(Why.GONE)),
        (answers(409, upload_offset="2"), Lost(Why.INCOMPLETE)),
        (answers(422, b'{"error": "digest_mismatch", "bad_parts": [0]}'), Lost(Why.DIFFERENT, (0,))),
    ],
)
async def test_an_upload_that_lacks_something_goes_back(calls: Calls, reply: Act, lost: Lost) -> None:
    """The service says what; asking again would not help."""
    assert await calls.submit(reply) == lost


async def test_the_same_key_in_flight_is_waited_for(calls: Calls) -> None:
    """409 without an offset is not about the upload: our own first request is still being worked on."""
    assert await calls.submit(answers(409, retry_after="2"), answers(409), MADE) == "id-1"
    assert calls.clock.slept_s[0] >= 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answers(401), KeyRejected),
        (answers(403), KeyRejected),
        (answers(400), UploadRefused),
        (answers(413), UploadRefused),
        (answers(422, b'{"error": "idempotency key reused"}'), UploadRefused),
    ],
)
async def test_a_refusal_is_not_repeated(calls: Calls, reply: Act, error: type[Exception]) -> None:
    """One answer is enough where a second would be the same."""
    with pytest.raises(error):
        await calls.submit(reply)
    assert calls.script.over


async def test_polling_outlasts_the_weather(calls: Calls) -> None:
    """Faults of every kind between two answers cost time and nothing else; each working answer is told."""
    text = await calls.wait(
        WORKING,
        breaks(httpx.ConnectError("refused")),
        answers(429, retry_after="20"),
        answers(500),
        answers(404),
        answers(200, b"<html>Please log in</html>"),
        WORKING,
        breaks(httpx.ReadTimeout("silent")),
        DONE,
    )
    assert text == "hello"
    assert len(calls.told.of(Polled)) == 2


async def test_polling_keeps_the_documented_interval(calls: Calls) -> None:
    """Never two calls within five seconds, and not much less often at the beginning."""
    began = calls.clock.now_s
    await calls.wait(*[WORKING] * 10, DONE)
    assert 50.0 <= calls.clock.now_s - began <= 60.0


async def test_polling_a_job_that_takes_longer_than_any_budget(calls: Calls) -> None:
    """An answer is progress, whatever it says: patience with the service's work has no end."""
    calls.policy = RetryPolicy(budget_s=600.0)
    began = calls.clock.now_s
    assert await calls.wait(*[WORKING] * 300, DONE) == "hello"
    assert calls.clock.now_s - began > 6000.0


@pytest.mark.parametrize(
    ("acts", "error"),
    [
        ([answers(200, b'{"status": "failed", "message": "too noisy"}')], JobFailed),
        ([answers(401)], KeyRejected),
        ([answers(400)], ServiceError),
        ([answers(404)] * polling.MAX_UNKNOWN, ServiceError),
        ([answers(200, b"<html>")] * polling.MAX_NONSENSE, UnexpectedReply),
        ([answers(200, b'{"status": "queued"}')], UnexpectedReply),
    ],
)
async def test_how_waiting_ends_otherwise(calls: Calls, acts: list[Act], error: type[Exception]) -> None:
    """A verdict of the service, a key that is not good, or answers that stay senseless; not one call more."""
    with pytest.raises(error):
        await calls.wait(*acts)
    assert calls.script.over


async def test_a_portal_says_nothing_of_the_job_however_often_it_is_asked(calls: Calls) -> None:
    """A page for people or a redirect to one, all night long, ends no waiting; the service's word does."""
    page = answers(200, b"<html>Please log in</html>", content_type="text/html; charset=utf-8")
    redirect = answers(302, location="https://login.hotel.example/")
    assert await calls.wait(WORKING, *[page, redirect] * 50, DONE) == "hello"


async def test_a_portal_that_stays_costs_the_budget(calls: Calls) -> None:
    """Patience with a page has the end that patience with silence has, and the job is kept."""
    calls.policy = RetryPolicy(budget_s=60.0)
    with pytest.raises(GaveUp):
        await calls.wait(*[answers(200, b"<html>", content_type="text/html")] * 1000)


async def test_a_service_that_stays_away_is_given_up_and_the_job_is_not(calls: Calls) -> None:
    """When the budget has passed without an answer the command ends; its hint goes on with the same job."""
    calls.policy = RetryPolicy(budget_s=60.0)
    with pytest.raises(GaveUp) as caught:
        await calls.wait(WORKING, *[breaks(httpx.ConnectError("refused"))] * 1000)
    assert "speechstream resume k3f9qz" in str(caught.value.hint)
