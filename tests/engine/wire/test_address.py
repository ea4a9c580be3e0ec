from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.faults import Nonsense
from engine.wire.address import origin, relative_to, resolve, same_origin, with_path

HOSTS = st.sampled_from(["speech.example", "cdn.example:8443", "127.0.0.1:80", "[::1]:1080"])
SEGMENTS = st.text(alphabet="abz019-._~%2F:@=+", max_size=12).filter(lambda text: "%" not in text or "%2F" in text)
PATHS = st.lists(SEGMENTS, max_size=4).map("/".join)
QUERIES = st.sampled_from(["", "?sig=a%2Fb", "?a=1&b=2", "?"])
URLS = st.builds(
    lambda scheme, host, path, query: f"{scheme}://{host}/{path}{query}",
    st.sampled_from(["http", "https"]),
    HOSTS,
    PATHS,
    QUERIES,
)


@settings(deadline=None, max_examples=150)
@given(base=URLS, location=URLS)
def test_a_stored_address_is_the_one_that_was_given(base: str, location: str) -> None:
    """Without its origin an upload's URL still names the same upload at the same service."""
    try:
        url = resolve(base, location).reveal()
    except Nonsense:
        return
    assert resolve(base, relative_to(base, url)).reveal() == url


@settings(deadline=None, max_examples=150)
@given(base=URLS, location=st.one_of(URLS, PATHS, PATHS.map("//speech.example/{}".format), st.text(max_size=30)))
def test_https_is_never_left(base: str, location: str) -> None:
    """From a secure service no Location leads anywhere insecure; what cannot be resolved is nonsense."""
    try:
        target = resolve(base, location).reveal()
    except Nonsense:
        return
    assert origin(base)[0] == "http" or origin(target)[0] == "https"


def test_a_stored_address_moves_with_the_service() -> None:
    """The embedded service has another port each time; what it holds is still found."""
    stored = relative_to("http://127.0.0.1:4001/v1", "http://127.0.0.1:4001/v1/uploads/a1?x=1")
    assert stored == "/v1/uploads/a1?x=1"
    assert resolve("http://127.0.0.1:5002/v1", stored).reveal() == "http://127.0.0.1:5002/v1/uploads/a1?x=1"


def test_another_origins_address_is_kept_whole() -> None:
    """An upload at a content network stays there."""
    url = "https://cdn.example/a1"
    assert relative_to("https://speech.example/v1", url) == url


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/v1", "https://h:443/files", True),
        ("https://H/v1", "https://h/", True),
        ("http://h/", "http://h:80/", True),
        ("https://h/", "http://h/", False),
        ("https://h/", "https://h:8443/", False),
        ("https://h/", "https://h.evil.example/", False),
        ("https://h/", "https://evil.example/?https://h/", False),
        ("https://h/", "https://h@evil.example/", False),
        ("https://h/", "not an address", False),
        ("https://h/", "https://h:port/", False),
    ],
)
def test_what_an_origin_is(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a column of the table
    """Scheme, host and port, and nothing that only looks like them (RFC 6454 section 4)."""
    assert same_origin(one, other) is same
    assert same_origin(other, one) is same


@pytest.mark.parametrize("url", ["", "speech.example/v1", "ftp://h/", "https://", "file:///etc/passwd"])
def test_what_is_no_address(url: str) -> None:
    """Only http and https with a host can be spoken to."""
    with pytest.raises(ValueError, match="not an http"):
        origin(url)


@pytest.mark.parametrize("endpoint", ["https://h/v1", "https://h/v1/"])
def test_a_call_of_the_service(endpoint: str) -> None:
    """The endpoint may end with a slash or not."""
    assert with_path(endpoint, "upload") == "https://h/v1/upload"
