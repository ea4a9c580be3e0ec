"""Why one exchange with a server did not count.

A fault is born where the reply is read or the transport broke, and says only what happened. What to do about
it (wait, ask again, begin anew, stop) is decided in `core.retry` and `core.lane`, never here.

    Fault
    ├── Offline            this machine has no network: waiting costs nothing
    ├── Unreachable        no connection to the server came about; nothing was sent
    ├── Interrupted        the connection broke or fell silent; `sent_all` says whether the whole request had left
    │   └── Severed        we cut it ourselves: it was dead, or made before this machine slept or moved
    ├── Throttled          429: obey, costs nothing
    ├── Busy               409/423/503: locked or overloaded
    ├── ServerTrouble      any other 5xx, 408
    ├── Nonsense           a reply that this call cannot give, such as a torn body
    │   └── Intercepted    a page or a redirect: somebody else answered (a captive portal)
    ├── Gone               404/410: the resource is not there (403 too, for tus HEAD)
    ├── Conflict           409 to an append: our offset is not the server's
    ├── Corrupted          460: the server's checksum of the payload differs
    ├── TooLarge           413
    ├── NoSpace            507
    ├── Unauthorized       401/403
    ├── BadParts           422 digest_mismatch
    └── Refused            any other 4xx
"""

from __future__ import annotations


class Fault(Exception):
    """The root of all faults.

    `costs_budget` is False where waiting is nobody's failure. `retry_after_s` is the server's own word.
    `sent_all` is True when the last byte of the request had been handed to the network.
    """

    costs_budget = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, sent_all: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.sent_all = sent_all


class Offline(Fault):
    """This machine has no route or no name service."""

    costs_budget = False


class Unreachable(Fault):
    """The server could not be connected to."""


class Interrupted(Fault):
    """The connection broke, or fell silent, under a request."""


class Severed(Interrupted):
    """We cut the connection ourselves, since a new one is better: there is nothing to wait for."""


class Throttled(Fault):
    """The server asks for patience (RFC 6585 section 4)."""

    costs_budget = False


class Busy(Fault):
    """The resource or the server is busy just now."""


class ServerTrouble(Fault):
    """The server failed on its side."""


class Nonsense(Fault):
    """The reply is not one that this call can give."""


class Intercepted(Nonsense):
    """The reply is not the service's: a page for people, or a redirect to one."""


class Gone(Fault):
    """The resource does not exist, or no longer."""


class Conflict(Fault):
    """The offset we appended at is not the server's."""


class Corrupted(Fault):
    """The payload's checksum did not hold on arrival (tus checksum extension, 460)."""


class TooLarge(Fault):
    """The payload is larger than the server takes (RFC 9110 section 15.5.14)."""


class NoSpace(Fault):
    """The server is out of space (RFC 4918 section 11.5)."""


class Unauthorized(Fault):
    """The key was not accepted."""


class BadParts(Fault):
    """The server's digests of these parts differ from ours."""

    def __init__(self, message: str, parts: tuple[int, ...]) -> None:
        super().__init__(message)
        self.parts = parts


class Refused(Fault):
    """The server will not do this, and says so; `status` is its code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
