"""Where requests may go: resolves what servers call a Location, and says who may see our key."""

from __future__ import annotations

import hashlib
from urllib.parse import urljoin, urlsplit, urlunsplit

from ..faults import Nonsense
from ..redaction import Secret

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454 section 4): two URLs of one origin share credentials.

    Raises:
        ValueError: the URL is not http(s) or names no host.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"not an http(s) URL: {url[:80]!r}")
    return scheme, parts.hostname, parts.port or _DEFAULT_PORTS[scheme]


def resolve(base: str, location: str) -> Secret:
    """The absolute URL of a Location header (RFC 3986 section 5), never less secure than `base`.

    Servers behind a TLS proxy often answer with `http://` for their own host: that is raised to https, as a
    key or a recording must not leave in clear because of it.

    Raises:
        Nonsense: the result is not an http(s) URL, or would leave https for another host in clear.
    """
    try:
        target = urljoin(base, location.strip())
        here, there = origin(base), origin(target)
    except ValueError as error:
        raise Nonsense(f"the server's Location cannot be used: {error}") from error
    if here[0] == "https" and there[0] == "http":
        if here[1] != there[1]:
            raise Nonsense("the server's Location would leave https for another host")
        parts = urlsplit(target)
        host = f"[{here[1]}]" if ":" in here[1] else here[1]
        netloc = host if here[2] == _DEFAULT_PORTS["https"] else f"{host}:{here[2]}"
        target = urlunsplit(("https", netloc, parts.path, parts.query, ""))
    return Secret(target)


def same_origin(one: str, other: str) -> bool:
    """Whether credentials for one URL may be sent to the other."""
    try:
        return origin(one) == origin(other)
    except ValueError:
        return False


def relative_to(base: str, url: str) -> str:
    """`url` without its origin where that is `base`'s, so that it still holds when the service moves ports.

    A path such as `//a` would name a host when it stands alone: what `resolve` would not give back is kept whole.
    """
    if not same_origin(base, url):
        return url
    parts = urlsplit(url)
    relative = urlunsplit(("", "", parts.path, parts.query, ""))
    return relative if urljoin(base, relative) == url else url


def given(upload_url: str) -> str:
    """The address under which an upload that somebody else made is known here: its origin, and a mark of the rest.

    The rest is a capability: who has it may write. The mark is a fragment, which no request ever carries.
    """
    parts = urlsplit(upload_url)
    mark = hashlib.blake2b(upload_url.encode(), digest_size=8).hexdigest()
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "/", "", mark))


def is_given(address: str) -> bool:
    """Whether an address is one of `given`."""
    return bool(urlsplit(address).fragment)


def with_path(endpoint: str, name: str) -> str:
    """`endpoint` plus one path segment, whether or not the endpoint ends with a slash."""
    return f"{endpoint.rstrip('/')}/{name}"
