"""How a program uses the library, for type checkers only: it is checked and never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from anyio.streams.memory import MemoryObjectReceiveStream

import engine
from engine.events import Completed, Uploaded


def blocking() -> None:
    """The two calls that most programs need."""
    assert_type(engine.transcribe("interview.mp4"), engine.Transcript)
    assert_type(engine.transcribe(Path("interview.mp4"), local=True).text, str)
    assert_type(engine.upload("lecture.mov", endpoint="https://speech.example/v1").processing_id, str)


async def asynchronous() -> None:
    """The client, job by job."""
    async with engine.Client(local=True, recipe="lossless", retry_for_s=3600.0) as client:
        assert_type(client, engine.Client)
        receipt = await client.upload("lecture.mov")
        assert_type(receipt, engine.Receipt)
        assert_type(await client.wait(receipt.processing_id), engine.Transcript)
        assert_type(await client.status(receipt.job_id), engine.JobStatus)
        assert_type(await client.resume("k3f9qz"), engine.Transcript | engine.Receipt | engine.Delivery)
        assert_type(await client.send("lecture.mov", "https://tus.example/files/"), engine.Delivery)
        assert_type(await client.cancel("k3f9qz"), engine.JobRecord)
        assert_type(client.jobs(), list[engine.JobRecord])


async def follow(client: engine.Client) -> None:
    """Events are a union of plain data, to be matched by type."""
    events = client.events()
    assert_type(events, MemoryObjectReceiveStream[engine.Event])
    async for event in events:
        match event:
            case Uploaded(acked_bytes=acked, total_bytes=total):
                assert_type(acked / total, float)
            case Completed(job_id=job_id):
                assert_type(job_id, str)
            case _:
                continue


def errors() -> None:
    """Every error is one of a tree, with a hint."""
    try:
        engine.transcribe("interview.mp4")
    except engine.KeyRejected as error:
        assert_type(error.hint, str | None)
    except engine.NetworkError as error:
        assert_type(error.message, str)
    except engine.SpeechStreamError as error:
        assert_type(error.kind, str)
