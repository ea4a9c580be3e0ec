"""Which way requests go, by what the environment says."""

from __future__ import annotations

import os
import sys

import pytest

from engine.runtime.proxies import first_hop, goes_directly


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One that names no proxy yet."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


elsewhere_the_system_may = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system may name one")


@elsewhere_the_system_may
def test_without_a_proxy_all_goes_straight() -> None:
    """To the server's own port, told or not."""
    assert goes_directly()
    assert first_hop("https://speech.example/v1") == ("https", "speech.example", 443)
    assert first_hop("http://[::1]:8000/v1") == ("http", "::1", 8000)


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_is_where_connections_are_made(environment: pytest.MonkeyPatch, name: str) -> None:
    """What has to be reached, and knocked at after an outage, is the proxy."""
    environment.setenv(name, "http://proxy.example:3128")
    assert not goes_directly()
    assert first_hop("https://speech.example/v1") == ("http", "proxy.example", 3128)


def test_what_the_proxy_is_not_for(environment: pytest.MonkeyPatch) -> None:
    """Another scheme, and hosts that are excepted."""
    environment.setenv("https_proxy", "http://proxy.example:3128")
    environment.setenv("no_proxy", "speech.example")
    assert not goes_directly()
    assert first_hop("http://other.example/v1") == ("http", "other.example", 80)
    assert first_hop("https://speech.example/v1") == ("https", "speech.example", 443)


@elsewhere_the_system_may
def test_an_exception_alone_is_no_proxy(environment: pytest.MonkeyPatch) -> None:
    """Many machines have NO_PROXY set and nothing else."""
    environment.setenv("no_proxy", "localhost")
    assert goes_directly()


def test_a_proxy_whose_address_makes_no_sense(environment: pytest.MonkeyPatch) -> None:
    """That is httpx's to tell; nothing here fails over it."""
    environment.setenv("https_proxy", "http://proxy.example:port")
    assert first_hop("https://speech.example/v1") == ("https", "speech.example", 443)
