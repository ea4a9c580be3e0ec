"""Bodies, message by message."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from starlette.datastructures import Headers
from starlette.types import Message

from engine.devserver.body import PIECE_BYTES, Bodies, Body, End
from engine.devserver.errors import Refusal

pytestmark = pytest.mark.anyio


def script(*messages: Message) -> Callable[[], Awaitable[Message]]:
    """A client that sends these messages and then nothing."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await anyio.sleep_forever()
        return left.pop(0)

    return receive


def some(data: bytes, *, more: bool = True) -> Message:
    """A message with a piece of the body."""
    return {"type": "http.request", "body": data, "more_body": more}


def body(*messages: Message, idle_timeout_s: float = 60.0) -> Body:
    """A body that arrives in these messages."""
    headers = Headers({"transfer-encoding": "chunked"})
    return Body(script(*messages), headers, idle_timeout_s=idle_timeout_s)


async def test_small_messages_become_one_piece() -> None:
    """A write is worth it."""
    arriving = body(*[some(b"ab")] * 100, some(b"c", more=False))
    assert [piece async for piece in arriving.pieces()] == [[b"ab"] * 100 + [b"c"]]
    assert arriving.end is End.COMPLETE


async def test_a_piece_does_not_grow_beyond_its_size_by_more_than_a_message() -> None:
    """Memory is bounded however much comes."""
    arriving = body(*[some(bytes(PIECE_BYTES // 4))] * 9, some(b"", more=False))
    assert [sum(map(len, piece)) async for piece in arriving.pieces()] == [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES // 4]


async def test_nothing_is_held_back_for_long() -> None:
    """What a slow client sent is handed out while it is still silent."""
    arriving = body(some(b"slow"))
    with anyio.fail_after(10):
        assert await anext(arriving.pieces()) == [b"slow"]
    assert arriving.end is None


async def test_an_interrupted_body_hands_out_what_it_has() -> None:
    """Whoever takes over finds these bytes on the disk."""
    arriving = body(some(b"first"))
    got = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_interrupt_soon, arriving)
        got = [piece async for piece in arriving.pieces()]
    assert got == [[b"first"]]
    assert arriving.end is End.INTERRUPTED


async def _interrupt_soon(arriving: Body) -> None:
    await anyio.sleep(0.01)
    arriving.interrupt(End.INTERRUPTED)


async def test_an_interruption_before_the_first_byte_counts() -> None:
    """Nothing is waited for."""
    arriving = body(some(b"late"))
    arriving.interrupt(End.INTERRUPTED)
    assert [piece async for piece in arriving.pieces()] == []
    assert arriving.end is End.INTERRUPTED


async def test_a_silent_client_is_given_up() -> None:
    """A dead connection does not hold an upload for ever."""
    arriving = body(some(b"once"), idle_timeout_s=0.01)
    assert [piece async for piece in arriving.pieces()] == [[b"once"]]
    assert arriving.end is End.IDLE


async def test_a_stop_ends_all_bodies_and_later_ones() -> None:
    """No upload starts while the service stops."""
    bodies = Bodies()
    running, late = body(), body()
    bodies.add(running)
    bodies.stop()
    bodies.add(late)
    for arriving in (running, late):
        assert [piece async for piece in arriving.pieces()] == []
        assert arriving.end is End.STOPPING


async def test_a_body_too_long_for_memory_is_not_read() -> None:
    """The limit holds whatever the headers said."""
    assert await body(some(b"abc"), some(b"def", more=False)).read(6) == b"abcdef"
    with pytest.raises(Refusal) as too_long:
        await body(some(b"abc"), some(b"defg", more=False)).read(6)
    assert too_long.value.status == 413
    with pytest.raises(Refusal) as cut:
        await body(some(b"abc"), {"type": "http.disconnect"}).read(6)
    assert cut.value.status == 408
