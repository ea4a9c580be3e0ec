"""When garbage is looked for: while a command works, but not while it loads what stays, nor when it ends."""

from __future__ import annotations

import gc
from typing import Final

_WHILE_LOADING: Final = 50_000  # objects; looking after every 700, as usual, takes 20 ms of a start
_usual: Final = gc.get_threshold()


def loading() -> None:
    """Most of what is made from here on stays."""
    gc.set_threshold(_WHILE_LOADING)


def working() -> None:
    """All is loaded. What is refused, big answers among it, must not lie about."""
    gc.freeze()
    gc.set_threshold(*_usual)


def ending() -> None:
    """The interpreter ends with two collections of all there is: a tenth of a second for nothing."""
    gc.freeze()
