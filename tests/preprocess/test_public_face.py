"""What the package shows, and what importing it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import preprocess

LATE = ("av", "ffmpeg", "imageio_ffmpeg", "asyncio", "httpx", "engine")


def test_all_is_exact() -> None:
    """`__all__` names exactly what can be asked for, each name once, and all of it is there."""
    shown = {name for name in dir(preprocess) if not inspect.ismodule(getattr(preprocess, name))}

    assert shown == set(preprocess.__all__) == set(preprocess._HOME)
    assert len(preprocess.__all__) == len(set(preprocess.__all__))
    with pytest.raises(AttributeError, match="no attribute 'upload'"):
        preprocess.upload  # noqa: B018 -- asking for it is the test


def test_import_is_light(pytestconfig: pytest.Config) -> None:
    """libav is never loaded here, and the rest only when it is needed."""
    program = f"import preprocess, sys; print([m for m in {LATE} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=pytestconfig.rootpath, check=True, capture_output=True, text=True
    )

    assert answer.stdout.strip() == "[]"


def test_every_error_is_in_the_tree() -> None:
    """The drawing of the error tree names every class, under the root that catches them all."""
    drawn = preprocess.PreprocessError.__module__
    tree = sys.modules[drawn].__doc__ or ""
    classes = [value for value in vars(sys.modules[drawn]).values() if inspect.isclass(value)]

    assert [name.__name__ for name in classes if name.__name__ not in tree] == []
    assert all(issubclass(name, preprocess.PreprocessError) for name in classes)
    assert {name.__name__ for name in classes} <= set(preprocess.__all__)


def test_hint_stays_out_of_the_message() -> None:
    """A message and its hint are printed apart."""
    error = preprocess.NoSpace("The disk is full.", hint="Free some space.")

    assert str(error) == error.message == "The disk is full."
    assert error.hint == "Free some space."
