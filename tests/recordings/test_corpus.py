"""Every recording of the corpus comes to the verdict that docs/recordings.md states."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.corpus.listening import listen
from fixtures.corpus.page import PAGE, ROWS, page
from fixtures.corpus.row import Prepared, Refused, Row, Turn
from fixtures.corpus.studio import Studio
from tests.warm import WarmCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.warm import Run

NUMBER = re.compile(r"\d+(?:[:.,]\d+)*")
NEAR = 0.3
TEN_MS = 0.01


@pytest.fixture(scope="session")
def attacked() -> Iterator[socket.socket]:
    """A server that nobody should ever ask."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, attacked: socket.socket) -> Studio:
    """Where this worker makes its recordings."""
    return Studio(tmp_path_factory.mktemp("studio"), port=attacked.getsockname()[1])


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommand]:
    """The command."""
    home = tmp_path_factory.mktemp("home")
    own = os.environ | {"SPEECHSTREAM_STATE_DIR": str(home / "state")}
    with WarmCommand(home, own, more="preprocess.find_ffmpeg()") as command:
        yield command


def spelled(sentence: str, studio: Studio) -> str:
    """A sentence of a verdict with this machine's names in it."""
    return sentence.replace("{folder}", str(studio.folder)).replace("{port}", str(studio.port))


def value(number: str) -> float:
    """A number as sentences have them: `93,193`, `2.1`, `0:09.7`."""
    total = 0.0
    if number.count(".") > 1:  # an address
        return total
    for part in number.replace(",", "").split(":"):
        total = total * 60 + float(part)
    return total


def alike(said: str, expected: str) -> bool:
    """Whether two sentences say the same, up to what another ffmpeg may count otherwise."""
    numbers = [list(map(value, NUMBER.findall(sentence))) for sentence in (said, expected)]
    if NUMBER.sub("#", said) != NUMBER.sub("#", expected):
        return False
    return all(abs(one - other) <= max(NEAR, other / 100) for one, other in zip(*numbers, strict=True))


def order(row: Row, studio: Studio, artifact: Path) -> list[str]:
    """The words of the command. A recording in the current folder is named without it, as people do."""
    made = row.make(studio)
    name = (
        made
        if isinstance(made, str)
        else os.path.relpath(made, studio.folder)
        if made.is_relative_to(studio.folder)
        else str(made)
    )
    return ["prepare", "--recipe", row.recipe, "--json", "--progress", "json", "-o", str(artifact), "--", name]


def check_prepared(run: Run, verdict: Prepared, artifact: Path, studio: Studio) -> None:
    """The artifact is as long as the recording, has its shape, and every word is in its place."""
    assert run.code == 0, run.complaints
    assert json.loads(run.output)["path"] == str(artifact)
    heard = listen(studio.ffmpeg, artifact, studio.speech(), verdict.speech_at_s)
    assert heard.seconds == pytest.approx(verdict.seconds, abs=verdict.within_s)
    assert (heard.rate_hz, heard.channels) == (verdict.rate_hz, verdict.channels)
    if heard.lag_s is not None:
        assert heard.lag_s == pytest.approx(0, abs=max(TEN_MS, verdict.within_s))
    warnings = [str(event["message"]) for event in run.told("warned")]
    assert len(warnings) == len(verdict.warnings), warnings
    for said, expected in zip(warnings, verdict.warnings, strict=True):
        assert alike(said, expected), said


def check_refused(run: Run, verdict: Refused, artifact: Path, studio: Studio) -> None:
    """There is one sentence and one hint, and no artifact."""
    assert (run.code, run.output) == (verdict.exit_code, "")
    assert run.error.get("reason") == verdict.reason
    assert alike(str(run.error["message"]), spelled(verdict.message, studio)), run.error
    assert run.error.get("hint") == verdict.hint
    assert not artifact.exists()


# `SPEECHSTREAM_FULL=hours` also takes what takes minutes.
FULL = os.environ.get("SPEECHSTREAM_FULL", "")
TURNS: dict[str, set[Turn]] = {"": {"always"}, "hours": {"always", "full", "by hand"}}
TAKEN = [row for row in ROWS if row.turn in TURNS.get(FULL, {"always", "full"})]


@pytest.mark.parametrize("row", [pytest.param(row, id=ascii(row.name)) for row in TAKEN])
def test_a_recording_comes_to_its_verdict(
    row: Row, studio: Studio, command: WarmCommand, attacked: socket.socket, tmp_path: Path
) -> None:
    """What comes of a recording is what its row says, and nothing was asked of the network."""
    artifact = tmp_path / "artifact.ogg"
    words = order(row, studio, artifact)
    run = prepared_while_it_grows(command, studio, words) if row.grows else command.run(studio.folder, *words)

    if isinstance(row.verdict, Prepared):
        check_prepared(run, row.verdict, artifact, studio)
    else:
        check_refused(run, row.verdict, artifact, studio)
    assert not any("Traceback" in line for line in run.complaints)
    assert list(tmp_path.iterdir()) == [artifact] * isinstance(row.verdict, Prepared)
    with pytest.raises(BlockingIOError):
        attacked.accept()


def prepared_while_it_grows(command: WarmCommand, studio: Studio, words: list[str]) -> Run:
    """A run during which the recorder goes on writing."""
    command.start(studio.folder, *words)
    while "decided" not in command.complaints():
        pass
    with (studio.folder / words[-1]).open("ab") as recorder:
        recorder.write(bytes(32_000))
    return command.finish()


def test_the_page_is_current() -> None:
    """`python -m fixtures.corpus.page > docs/recordings.md` would change nothing."""
    assert PAGE.read_text("utf-8") == page()


def test_a_recording_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """The corpus is made, never downloaded, and made again it is the same."""
    for name in ("voice.m4a", "screen.mkv", "voice.opus", "scratched.mp3", "locked.m4a"):
        (row,) = (row for row in ROWS if row.name == name)
        contents = []
        for folder in (tmp_path / f"{name}-1", tmp_path / f"{name}-2"):
            folder.mkdir()
            contents.append(Path(row.make(Studio(folder))).read_bytes())
        assert contents[0] == contents[1], name
