from __future__ import annotations

import copy
import logging
import traceback
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.redaction import Secret, remember, scrub

KEY = "sk-live-4f9a0c7be1"


@dataclass(frozen=True)
class Holder:
    """Something that has a secret among its fields."""

    key: Secret


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(KEY)),
        repr(Secret(KEY)),
        f"{Secret(KEY)}",
        f"{Secret(KEY)!r:>40}",
        "%s %r" % (Secret(KEY), Secret(KEY)),  # noqa: UP031 - the form that logging uses
        repr(Holder(Secret(KEY))),
        repr([Secret(KEY)]),
        repr({"key": Secret(KEY)}),
    ],
)
def test_a_secret_is_in_no_text(shown: str) -> None:
    """However it is put into a text, its value is not there."""
    assert KEY not in shown
    assert "<secret " in shown


def test_a_secret_in_a_traceback_stays_one() -> None:
    """An exception that carries it shows its tag."""
    assert KEY not in "".join(traceback.format_exception(ValueError(Secret(KEY))))


def test_secrets_compare_by_value() -> None:
    """Equal values are one secret with one tag; a secret is not its text."""
    assert Secret(KEY) == Secret(KEY)
    assert len({Secret(KEY), Secret(KEY)}) == 1
    assert Secret(KEY).tag() == Secret(KEY).tag() != Secret(f"{KEY}2").tag()
    assert Secret(KEY) != KEY
    assert copy.deepcopy(Secret(KEY)).reveal() == KEY


@settings(deadline=None, max_examples=100)
@given(before=st.text(max_size=20), value=st.text(min_size=6, max_size=30), after=st.text(max_size=20))
def test_what_was_remembered_is_scrubbed(before: str, value: str, after: str) -> None:
    """Wherever it stands in a text that somebody else wrote."""
    remember(value)
    assert value not in scrub(f"{before}{value}{after}") or value in "[secret]"


def test_a_url_is_scrubbed_whole_and_in_its_telling_parts() -> None:
    """Libraries log a host, a path or a query alone: the capability is gone from each, the host stays readable."""
    Secret("https://cdn.example/uploads/5b2c9e6679f7425d40?signature=abcdef0123")
    line = 'GET /uploads/5b2c9e6679f7425d40 "?signature=abcdef0123" at cdn.example'
    assert scrub(line) == 'GET /uploads/[secret] "?[secret]" at cdn.example'


def test_short_values_do_not_blank_out_innocent_words() -> None:
    """A key of three letters cannot be kept out of every sentence."""
    Secret("the")
    assert scrub("the upload") == "the upload"


def test_a_log_record_can_be_scrubbed() -> None:
    """Also where the secret came in as an argument of another library."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "Authorization: Bearer %s", (KEY,), None)
    Secret(KEY)
    assert scrub(record.getMessage()) == "Authorization: Bearer [secret]"
