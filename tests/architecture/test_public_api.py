from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import engine
import engine.errors
import preprocess

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("anyio", "av", "click", "cryptography", "ffmpeg", "httpx", "imageio_ffmpeg", "tqdm", "xxhash")


def names(module: object) -> list[str]:
    exported = getattr(module, "__all__", [])
    return list(exported)


def test_the_librarys_names_are_these() -> None:
    """A change here is a change for everyone who uses the library."""
    assert engine.__all__ == [
        *("AmbiguousUpload", "Client", "ConfigError", "Delivery", "DigestMismatch", "Event", "GaveUp"),
        *("InternalError", "JobFailed", "JobRecord", "JobState", "JobStatus", "KeyRejected", "NetworkError"),
        *("NoSuchJob", "OutputError", "Receipt", "RecordingChanged", "RecordingError", "ServiceError"),
        *("SpeechStreamError", "StateError", "Transcript", "UnexpectedReply", "UploadRefused", "UserError"),
        *("transcribe", "upload"),
    ]


@pytest.mark.parametrize("module", [engine, preprocess], ids=["engine", "preprocess"])
def test_every_name_is_there_once_in_order_and_explained(module: object) -> None:
    """What is promised can be imported, and says what it is for."""
    exported = names(module)
    assert len(exported) == len(set(exported))
    assert exported == sorted(exported, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in exported:
        found = getattr(module, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__doc__, name


def test_a_name_that_is_not_there() -> None:
    """Names are looked up late, and a wrong one is still an AttributeError."""
    with pytest.raises(AttributeError, match="no attribute 'transcribble'"):
        engine.transcribble  # noqa: B018 - the lookup is the test


def test_every_error_is_public_and_of_the_tree() -> None:
    """Whoever catches SpeechStreamError catches everything, and each kind can be caught by name."""
    kinds = {
        name: value
        for name, value in vars(engine.errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert set(kinds) <= set(engine.__all__)
    assert all(issubclass(kind, engine.SpeechStreamError) for kind in kinds.values())
    assert all(
        f" {name} " in f"{engine.errors.__doc__} " or f"{name}\n" in str(engine.errors.__doc__) for name in kinds
    )


def test_importing_the_library_costs_nothing() -> None:
    """`import engine` loads none of what it stands on; that comes with the first use."""
    program = f"import sys, engine; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_speaks_to_servers_is_loaded_when_something_is_to_be_sent() -> None:
    """It takes longer to load than all the rest; the first connection is made meanwhile."""
    heavy = ("httpx", "httpcore", "h11", "ssl", "cryptography", "preprocess", "av")
    program = f"import sys, engine.client; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_says_that_it_is_typed() -> None:
    """Type checkers read our hints in programs that install us (PEP 561)."""
    assert (ROOT / "engine" / "py.typed").is_file()
    assert (ROOT / "preprocess" / "py.typed").is_file()
