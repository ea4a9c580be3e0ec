"""Holds a conversation by hand: look at the request, give the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from engine.wire.message import Response

if TYPE_CHECKING:
    from engine.wire.message import Conversation, Request

T = TypeVar("T")


class Talk(Generic[T]):
    """One conversation. `request` is what it asks now; `result` is there once it asks no more."""

    def __init__(self, conversation: Conversation[T]) -> None:
        self._conversation = conversation
        self._result: list[T] = []
        self._request: Request | None = next(conversation)

    @property
    def request(self) -> Request:
        """What the other side sees now."""
        assert self._request is not None, "the conversation is over"
        return self._request

    @property
    def header(self) -> dict[str, str]:
        """The request's headers."""
        names = [name for name, _ in self.request.headers]
        assert len(names) == len(set(names)), "a header is sent twice"
        return dict(self.request.headers)

    @property
    def result(self) -> T:
        """What the conversation was for."""
        assert self._result, f"it still asks for {self._request}"
        return self._result[0]

    def reply(self, status: int, body: bytes = b"", **headers: str) -> Talk[T]:
        """Answer; header names are written with underscores."""
        plain = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._request = self._conversation.send(Response(status, plain, body))
        except StopIteration as done:
            self._request = None
            self._result.append(done.value)
        return self
