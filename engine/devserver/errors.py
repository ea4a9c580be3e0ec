"""What can go wrong, as the service tells it.

ServiceError
├── SetupError     the service cannot start: a sentence for its operator
└── Refusal        a request is answered with an error status and ``{"message": ...}``
"""

from collections.abc import Mapping
from http import HTTPStatus


class ServiceError(Exception):
    """Base of every error this package raises."""


class SetupError(ServiceError):
    """The service cannot start; the message says why and what to do about it."""


class Refusal(ServiceError):
    """A request is refused; becomes the JSON reply ``{"message": ...}`` with ``status``.

    Args:
        status: HTTP status of the reply.
        message: One sentence for the person who reads the reply.
        headers: Headers of the reply.
        extra: More members of the JSON object, such as ``code``.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
