"""Reads what is common to every reply: Retry-After, error texts, and the fault a status code stands for."""

from __future__ import annotations

import json
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..faults import (
    Busy,
    Conflict,
    Corrupted,
    Fault,
    Gone,
    Intercepted,
    Nonsense,
    NoSpace,
    Refused,
    ServerTrouble,
    Throttled,
    TooLarge,
    Unauthorized,
)
from .message import Response, excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DIGITS: Final = 19  # 2**63 bytes; Python refuses to read numbers of thousands of digits
MAX_RETRY_AFTER_S: Final = 24 * 3600.0  # a longer order is more likely a clock gone wrong than a wish

_BY_STATUS: Final[dict[int, type[Fault]]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: Gone,
    408: ServerTrouble,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    423: Busy,
    425: ServerTrouble,
    429: Throttled,
    460: Corrupted,
    503: Busy,
    507: NoSpace,
}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by Retry-After, which is delta-seconds or an HTTP-date (RFC 9110 section 10.2.3).

    A date is measured against the reply's own Date where there is one, so that a wrong local clock does
    not matter. Without Date a date cannot be used by pure code and counts as absent.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.replace(".", "", 1).isdigit():
        return min(float(value), MAX_RETRY_AFTER_S)
    until, now = http_date(value), http_date(headers.get("date", ""))
    if until is None or now is None:
        return None
    return min(max(until - now, 0.0), MAX_RETRY_AFTER_S)


def http_date(value: str) -> float | None:
    """An HTTP-date as seconds since the epoch, or None (RFC 9110 section 5.6.7)."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def non_negative(headers: Mapping[str, str], name: str) -> int | None:
    """A header that holds a count of bytes.

    Raises:
        Nonsense: it is there and is not a non-negative integer.
    """
    value = headers.get(name)
    if value is None:
        return None
    count = digits(value)
    if count is None:
        raise Nonsense(f"the reply's {name} is not a number: {value[:40]!r}")
    return count


def digits(value: str) -> int | None:
    """A number written in ASCII digits alone, of a length that a count of bytes may have; else None."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS else None


def fault_of(response: Response, doing: str) -> Fault:
    """The fault that a reply outside 2xx stands for; `doing` completes “the server answered 503 to …”."""
    status = response.status
    said = "a page for people" if response.is_page else complaint(response.body)
    message = f"the server answered {status} to {doing}: {said}"
    wait = retry_after_s(response.headers)
    sent_all = response.sent_all
    if 300 <= status < 400:  # noqa: PLR2004 - redirects; none is followed, so none counts as success
        where = _host_of(response.headers.get("location", ""))
        return Intercepted(f"{doing} was redirected{where} ({status})", retry_after_s=wait, sent_all=sent_all)
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind(message, retry_after_s=wait, sent_all=sent_all)
    if status >= 500:  # noqa: PLR2004 - the class of server errors
        return ServerTrouble(message, retry_after_s=wait, sent_all=sent_all)
    if status >= 400:  # noqa: PLR2004 - the class of client errors
        return Refused(message, status)
    return Nonsense(message, sent_all=sent_all)


def _host_of(location: str) -> str:
    """Where a redirect leads, as far as a person needs it: scheme and host, nothing that could be a secret."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    return f" to {excerpt(f'{parts.scheme}://{parts.hostname}'.encode())}" if parts.scheme and parts.hostname else ""


def complaint(body: bytes) -> str:
    """What the server says is wrong: the JSON field meant for people, else the body's beginning."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return excerpt(body)
    if isinstance(value, dict):
        for name in ("message", "error", "detail"):
            if isinstance(value.get(name), str):
                return excerpt(value[name].encode("utf-8", "replace"))
    return excerpt(body)
