"""Which ffmpeg is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preprocess import Ffmpeg, ToolMissing, find_ffmpeg

Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No choice in the environment, and none remembered."""
    monkeypatch.delenv("SPEECHSTREAM_FFMPEG", raising=False)
    find_ffmpeg.cache_clear()
    yield
    find_ffmpeg.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a program called ffmpeg that claims the given version on an otherwise empty PATH."""

    def make(version: str, status: int = 0) -> Path:
        path = tmp_path / "bin" / "ffmpeg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'ffmpeg version {version} Copyright'\nexit {status}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent))
        return path

    return make


@pytest.mark.parametrize("version", ["5.1.9-0+deb12u1", "n6.1", "9.0.2-static", "N-110223-gb18a9c2971"])
def test_system_ffmpeg(install: Install, version: str) -> None:
    """A system's ffmpeg from version 5 on is used, in whatever way it writes its version."""
    path = install(version)

    assert (find_ffmpeg().path, find_ffmpeg().version) == (str(path), version)


@pytest.mark.parametrize(("version", "status"), [("4.4.2-0ubuntu0", 0), ("n4.3", 0), ("7.1", 1)])
def test_bundled_where_the_system_has_none_to_use(install: Install, version: str, status: int) -> None:
    """One too old, or that does not run, gives way to the bundled one."""
    path = install(version, status)

    assert find_ffmpeg().path != str(path)


def test_remembered(install: Install) -> None:
    """It is looked for once per process."""
    install("6.0")
    first = find_ffmpeg()
    install("7.0")

    assert find_ffmpeg() is first


def test_choice_in_the_environment(install: Install, monkeypatch: pytest.MonkeyPatch, ffmpeg: Ffmpeg) -> None:
    """The environment's choice wins over the system's."""
    install("6.0")
    monkeypatch.setenv("SPEECHSTREAM_FFMPEG", ffmpeg.path)

    assert find_ffmpeg() == ffmpeg


@pytest.mark.parametrize("choice", ["/nowhere/ffmpeg", "/bin/true"])
def test_choice_that_does_not_run(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    """A wrong choice is an error, not silently replaced."""
    monkeypatch.setenv("SPEECHSTREAM_FFMPEG", choice)

    with pytest.raises(ToolMissing, match=choice) as missing:
        find_ffmpeg()

    assert "SPEECHSTREAM_FFMPEG" in missing.value.hint


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any ffmpeg the error says what to install, and installing it helps the same process."""
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        patch.setattr("preprocess.ffmpeg_binary._bundled", lambda: None)
        with pytest.raises(ToolMissing, match="No ffmpeg 5 or newer"):
            find_ffmpeg()

    assert find_ffmpeg().version


def test_builds_of_one_version_differ(install: Install) -> None:
    """The build is part of what is known, since other libraries write other bytes."""
    install("6.0")
    one = find_ffmpeg()
    find_ffmpeg.cache_clear()
    path = install("6.0")
    path.write_text(path.read_text().replace("Copyright", "built with another libopus"))

    assert find_ffmpeg().build != one.build
