"""What holds for every test: those marked `long` run where SPEECHSTREAM_FULL is set, as in CI."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure() -> None:
    """Programs that the tests start listen to Ctrl-C, also where a shell started the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes seconds each, so that `make test` stays a matter of minutes."""
    if os.environ.get("SPEECHSTREAM_FULL"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes long; set SPEECHSTREAM_FULL=1"))
