from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.receipt import Content, Times, WrittenReceipt, self_digest
from engine.errors import UserError

SENT = Content("talk.ogg", 20, 16, b"w" * 16, (b"0" * 16, b"1" * 16))
RECEIPT = WrittenReceipt(
    job_id="k3f9qz",
    kind="transcription",
    state="completed",
    processing_id="id-1",
    endpoint="https://speech.example/v1",
    recipe="standard",
    proof="verified by server",
    times=Times(1000.0, 1001.5, None, 2000.125),
    artifact=SENT,
    recording=replace(SENT, filename="Vortrag über Straße.mp4", size_bytes=30),
)
TEXT = RECEIPT.text()


@pytest.mark.parametrize("receipt", [RECEIPT, replace(RECEIPT, recording=None, processing_id=None)])
def test_what_was_written_is_read(receipt: WrittenReceipt) -> None:
    """Every field comes back, times to the millisecond, whatever the white space became on the way."""
    assert WrittenReceipt.read(receipt.text(), "r.json") == receipt
    assert WrittenReceipt.read(json.dumps(json.loads(receipt.text())), "r.json") == receipt


def test_a_name_that_is_no_text_can_be_written() -> None:
    """Bytes of a file name that are no text come as escapes; the receipt stays readable."""
    stray = replace(RECEIPT, artifact=replace(SENT, filename="talk\udcff.mp4"))
    assert WrittenReceipt.read(stray.text(), "r.json").artifact.filename == "talk\\udcff.mp4"


@given(at=st.integers(0, len(TEXT) - 1), by=st.sampled_from('0123456789abcdef"{}[],: \n\\Zé'))
def test_any_damage_is_told(at: int, by: str) -> None:
    """One character was exchanged: the receipt is refused, unless it still says exactly the same."""
    damaged = TEXT[:at] + by + TEXT[at + 1 :]
    read = None
    with contextlib.suppress(UserError):
        read = WrittenReceipt.read(damaged, "r.json")
    assert read in {None, RECEIPT}


@given(length=st.integers(0, len(TEXT) - 2))
def test_a_torn_receipt_is_told(length: int) -> None:
    """Cut off anywhere, it is refused."""
    with pytest.raises(UserError):
        WrittenReceipt.read(TEXT[:length], "r.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"format": "laundry-list"}, "no receipt"),
        ({"artifact": {"filename": "a", "size": 20}}, "no receipt that can be read"),
        ({"times": None}, "no receipt that can be read"),
        ({"recording": {**json.loads(TEXT)["recording"], "part_size": 0}}, "no receipt that can be read"),
        ({"recording": {**json.loads(TEXT)["recording"], "size": 300}}, "no receipt that can be read"),
    ],
)
def test_a_whole_document_that_is_no_receipt_of_ours(change: dict[str, object], said: str) -> None:
    """Its own digest holds, and yet it says nothing that could be checked: told in a sentence, not by a trace."""
    document = {**json.loads(TEXT), **change}
    document["self_digest"]["value"] = self_digest(document)
    with pytest.raises(UserError, match=said):
        WrittenReceipt.read(json.dumps(document), "r.json")


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 100_000, "speech"])
def test_what_is_not_json_or_no_object(text: str) -> None:
    """Whatever file was named instead, the answer is a sentence."""
    with pytest.raises(UserError, match="no receipt"):
        WrittenReceipt.read(text, "r.json")
