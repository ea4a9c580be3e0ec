"""The limits, on a clock that is told what time it is."""

from engine.devserver.limits import SlidingWindow


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_slides() -> None:
    """Each call counts for exactly the window's length, and refused calls do not count."""
    clock = Clock()
    window = SlidingWindow(2, 60.0, clock)
    assert window.take("a") is None
    clock.now += 20.5
    assert window.take("a") is None
    assert window.take("a") == 40
    assert window.take("b") is None
    clock.now += 39.4
    assert window.take("a") == 1
    clock.now += 0.1
    assert window.take("a") is None
    assert window.take("a") == 21


def test_the_wait_is_at_least_a_second() -> None:
    """Retry-After: 0 would be an invitation to try at once and fail."""
    clock = Clock()
    window = SlidingWindow(1, 5.0, clock)
    window.take("a")
    clock.now += 4.999
    assert window.take("a") == 1


def test_callers_of_long_ago_are_forgotten() -> None:
    """The table does not grow with the number of jobs there ever were."""
    clock = Clock()
    window = SlidingWindow(1, 5.0, clock)
    for caller in range(30_000):
        clock.now += 1
        assert window.take(str(caller)) is None
    assert len(window._calls) < 11_000
