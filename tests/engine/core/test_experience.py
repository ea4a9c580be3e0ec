"""What past jobs tell of link and machine."""

from __future__ import annotations

import pytest

from engine.core.experience import speed, uplink_bits_s
from engine.model import Tally


def upload(megabytes: float, mbit_s: float) -> Tally:
    """What an upload of that size over such a link has cost."""
    return Tally(sent_bytes=round(megabytes * 1e6), sending_s=megabytes * 8 / mbit_s)


def test_nothing_is_known_without_uploads() -> None:
    """Who has sent nothing yet has no link to speak of."""
    assert uplink_bits_s([]) is None
    assert speed([]) is None


def test_the_last_uploads_count() -> None:
    """A link that has become faster is believed after two uploads, a slower one after four."""
    slow, fast = [upload(10, 2)] * 20, [upload(10, 50)] * 20

    assert uplink_bits_s(slow) == pytest.approx(2e6)
    assert uplink_bits_s(fast[:1] + slow) == pytest.approx(2e6)
    assert uplink_bits_s(fast[:2] + slow) == pytest.approx(50e6)
    assert uplink_bits_s(slow[:3] + fast) == pytest.approx(50e6)
    assert uplink_bits_s(slow[:4] + fast) == pytest.approx(2e6)


def test_one_upload_is_better_than_none() -> None:
    """What little is known is taken."""
    assert uplink_bits_s([upload(1, 3)]) == pytest.approx(3e6)


def test_one_bad_day_does_not_decide() -> None:
    """An upload from a train, or one beside a download, is passed over for the usual."""
    assert uplink_bits_s([upload(10, 0.1), *[upload(10, 20)] * 4]) == pytest.approx(20e6)


@pytest.mark.parametrize("tiny", [upload(0.1, 1), Tally(1_000_000, sending_s=0.0), Tally()])
def test_what_is_over_at_once_tells_nothing(tiny: Tally) -> None:
    """A few kilobytes measure the round trip and not the rate."""
    assert uplink_bits_s([tiny] * 5) is None
    assert uplink_bits_s([*[tiny] * 15, upload(10, 8)]) == pytest.approx(8e6)


def test_speed_is_that_of_the_last_measured_preparations() -> None:
    """Artifacts that were copied or sent as they are were not measured."""
    assert speed([None, 2.0, None, 1.0, 3.0, None, 2.5, 2.0, 9.0, 9.0]) == 2.0
