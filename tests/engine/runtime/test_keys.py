from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.config import Settings, load
from engine.errors import ConfigError
from engine.redaction import Secret
from engine.runtime.keys import find_key

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "https://speech.example/v1"


def settings(tmp_path: Path, text: str = "") -> Settings:
    """The settings of a config file with this text."""
    path = tmp_path / "config.toml"
    path.write_text(f'endpoint = "{SERVICE}"\n{text}')
    path.chmod(0o600)
    return load({"SPEECHSTREAM_CONFIG": str(path), "SPEECHSTREAM_STATE_DIR": str(tmp_path)})


def printing(text: str) -> str:
    """A key command that prints so."""
    return f"api_key_command = ['{sys.executable}', '-c', 'print(\"{text}\")']\n"


@pytest.fixture(autouse=True)
def _no_key_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPEECHSTREAM_API_KEY", raising=False)


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment before command before file; blanks around a pasted key are not part of it."""
    text = f"{printing('of-the-command')}api_key = 'of-the-file'\n"
    assert find_key(settings(tmp_path, "api_key = 'of-the-file'\n"), SERVICE) == Secret("of-the-file")
    assert find_key(settings(tmp_path, text), SERVICE) == Secret("of-the-command")
    monkeypatch.setenv("SPEECHSTREAM_API_KEY", " of-the-environment\n")
    assert find_key(settings(tmp_path, text), SERVICE) == Secret("of-the-environment")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api_key_command = ['/no/such/program']", "No such file"),
        (f"api_key_command = ['{sys.executable}', '-c', 'raise SystemExit(3)']", "exit status 3"),
        (f"api_key_command = ['{sys.executable}', '-c', '']", "printed nothing"),
    ],
)
def test_a_key_command_that_gives_none(tmp_path: Path, text: str, said: str) -> None:
    """The error says which command and why, and nothing is tried in its place."""
    with pytest.raises(ConfigError, match=said):
        find_key(settings(tmp_path, text), SERVICE)


@pytest.mark.parametrize("key", ["schlüssel", "line\nline", "nul\0", "tab\t"])
def test_a_key_that_no_header_can_carry(tmp_path: Path, key: str) -> None:
    """It is refused here, where the sentence can say so without showing it."""
    with pytest.raises(ConfigError, match="no header can carry") as caught:
        find_key(settings(tmp_path), SERVICE, Secret(key))
    assert key not in str(caught.value)


def test_a_key_goes_to_the_service_it_was_given_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of another service, taken up again, does not get this one's key."""
    monkeypatch.setenv("SPEECHSTREAM_API_KEY", "of-the-environment")
    with pytest.raises(ConfigError, match="belongs to"):
        find_key(settings(tmp_path), "https://other.example/v1")


def test_a_key_in_the_file_goes_only_to_the_files_own_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another SPEECHSTREAM_ENDPOINT the key of the file and of its command stays; that of the environment goes."""
    other = "https://other.example/v1"
    for text in ("api_key = 'of-the-file'\n", printing("of-the-command")):
        elsewhere = replace(settings(tmp_path, text), endpoint=other)
        with pytest.raises(ConfigError, match="no API key for https://other"):
            find_key(elsewhere, other)
    monkeypatch.setenv("SPEECHSTREAM_API_KEY", "of-the-environment")
    assert find_key(elsewhere, other) == Secret("of-the-environment")
    with pytest.raises(ConfigError, match="belongs to"):
        find_key(elsewhere, SERVICE)


def test_a_file_that_names_no_service_has_the_key_of_the_configured_one(tmp_path: Path) -> None:
    """A file with nothing but a key belongs to whatever service is configured."""
    path = tmp_path / "config.toml"
    path.write_text("api_key = 'of-the-file'\n")
    path.chmod(0o600)
    env = {"SPEECHSTREAM_CONFIG": str(path), "SPEECHSTREAM_STATE_DIR": str(tmp_path), "SPEECHSTREAM_ENDPOINT": SERVICE}
    assert find_key(load(env), SERVICE) == Secret("of-the-file")
