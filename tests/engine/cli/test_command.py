"""The command as a person meets it: a real process, its exit code, and what it says."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from engine.cli import COMMANDS
from engine.runtime.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.cli.conftest import Shell, Stubborn

HEAVY = ("httpx", "av", "tqdm", "anyio", "ffmpeg", "cryptography", "xxhash", "platformdirs", "preprocess")
LOADED = f"""
import sys
sys.argv[0] = "speechstream"
from engine.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def told(stderr: str) -> tuple[str, str]:
    """The sentence and the hint, and nothing besides."""
    sentence, _, hint = stderr.partition("\n\nhint: ")
    assert sentence.startswith("error: "), stderr
    assert "\n" not in sentence, stderr
    return sentence.removeprefix("error: "), hint.rstrip("\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_how_it_is_used(shell: Shell, name: str) -> None:
    """--help answers on stdout, at once, with an example that begins with the command itself."""
    done = shell.run(name, "--help", program=LOADED)
    assert done.returncode == 0
    assert f"Example: speechstream {name}" in done.stdout
    assert done.stderr == "[]\n"


def test_the_first_thing_anyone_types(shell: Shell) -> None:
    """--help lists every command with a line of its own, and loads nothing that is slow to load."""
    done = shell.run("--help", program=LOADED)
    assert done.returncode == 0
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert text.split(";", maxsplit=1)[0].rstrip(".") in done.stdout
    assert done.stderr == "[]\n"


def test_the_list_of_jobs_is_instant(shell: Shell) -> None:
    """`jobs` needs the manifest and nothing that talks, encodes or draws."""
    done = shell.run("jobs", program=LOADED)
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr == "there are no jobs yet\n\nhint: speechstream transcribe FILE\n[]\n"


def test_nothing_to_resume_is_no_error(shell: Shell) -> None:
    """Typed once too often, it says so and is content."""
    done = shell.run("resume")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "there is nothing to resume\n")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.mp4", None, "missing.mp4"),
        ("folder.mp4", "folder", "folder.mp4"),
        ("empty.mp4", b"", "empty"),
        ("notes.mp4", b"These are my notes, and nobody speaks in them.\n" * 50, "notes.mp4"),
        ("\x1b[2Jevil\n.mp4", b"", "empty"),
    ],
)
@pytest.mark.parametrize("how", [("transcribe", "--local"), ("upload", "--endpoint", "http://127.0.0.1:9/v1")])
def test_what_is_no_recording(
    shell: Shell, tmp_path: Path, how: tuple[str, ...], name: str, content: bytes | str | None, said: str
) -> None:
    """Exit 1, one sentence that names the file, a hint, and nothing sent or stored."""
    if content == "folder":
        (tmp_path / name).mkdir()
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    shell.environment["SPEECHSTREAM_API_KEY"] = "sk-never-sent"
    done = shell.run(*how, name)
    sentence, hint = told(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in sentence
    assert "\x1b" not in done.stderr
    assert hint
    with Manifest(tmp_path / "state") as manifest:
        assert manifest.jobs() == []


@pytest.mark.parametrize("command", ["show", "resume", "cancel"])
def test_an_unknown_job(shell: Shell, command: str) -> None:
    """The name is repeated, and the hint lists those that are there."""
    done = shell.run(command, "nobody")
    sentence, hint = told(done.stderr)
    assert done.returncode == 1
    assert "'nobody'" in sentence
    assert "speechstream jobs" in hint


@pytest.mark.parametrize("command", ["transcribe", "upload", "wait", "status"])
def test_no_service_is_configured(shell: Shell, tmp_path: Path, command: str) -> None:
    """Both ways out are named: an address, or none needed."""
    (tmp_path / "talk.mp3").write_bytes(b"\0" * 100)
    done = shell.run(command, "talk.mp3")
    sentence, hint = told(done.stderr)
    assert (done.returncode, sentence) == (1, "No service is configured")
    assert "SPEECHSTREAM_ENDPOINT" in hint
    assert "--local" in hint


def test_no_key(shell: Shell, tmp_path: Path) -> None:
    """The variable is named; a key is never asked for on the command line."""
    done = shell.run("status", "id-1", "--endpoint", "http://127.0.0.1:9/v1")
    sentence, hint = told(done.stderr)
    assert done.returncode == 1
    assert "no API key" in sentence
    assert "SPEECHSTREAM_API_KEY" in hint


def test_errors_as_json(shell: Shell) -> None:
    """With --json stderr is one object with a stable name, and stdout stays empty."""
    done = shell.run("transcribe", "--local", "--json", "missing.mp4")
    assert (done.returncode, done.stdout) == (1, "")
    error = json.loads(done.stderr)
    assert error["error"] == "RecordingError"
    assert "missing.mp4" in error["message"]
    assert error["hint"]


@pytest.mark.parametrize("words", [("transcribble",), ("jobs", "--frobnicate"), ("transcribe",), ("status",)])
def test_a_command_typed_wrong(shell: Shell, words: tuple[str, ...]) -> None:
    """Exit 1 with the usage, as for everything a person can put right."""
    done = shell.run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Usage: speechstream" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("mode", "refused"), [(0o644, True), (0o640, True), (0o600, False)])
def test_a_key_in_a_file_that_others_can_read(shell: Shell, tmp_path: Path, mode: int, refused: bool) -> None:  # noqa: FBT001 - a column
    """The file is refused with the command that puts it right, and the key is not shown."""
    path = tmp_path / "config" / "speechstream" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('api_key = "sk-secret-0123456789"\n')
    path.chmod(mode)
    done = shell.run("resume")
    assert done.returncode == (1 if refused else 0)
    assert "sk-secret" not in done.stderr
    if refused:
        sentence, hint = told(done.stderr)
        assert "can be read by others" in sentence
        assert hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('endpont = "x"', "endpont"),
        ("endpoint = ", "not TOML"),
        ("endpoint = 7", "endpoint"),
        ('recipe = "mp3"', "recipe"),
        ('retry_for_s = "long"', "retry_for_s"),
        ('request_size = "6 potatoes"', "request_size"),
        ("request_size = 0", "request_size"),
        ('limit_rate = "2000"', "limit_rate"),
        ('limit_timetable = "08:00-18:00 1MB/s"', "limit_timetable"),
        ('limit_timetable = ["08:00-18:00"]', "limit_timetable"),
        ('polite = "yes"', "polite"),
        ('api_key_command = "pass speech"', "api_key_command"),
    ],
)
def test_a_config_file_with_a_mistake(shell: Shell, tmp_path: Path, text: str, said: str) -> None:
    """The file and the setting are named."""
    path = tmp_path / "my.toml"
    path.write_text(text)
    shell.environment["SPEECHSTREAM_CONFIG"] = str(path)
    done = shell.run("jobs")
    assert done.returncode == 1
    assert str(path) in done.stderr.partition("\n\nhint: ")[0]
    assert said in done.stderr


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """Programs are started as a shell starts its background jobs: with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_in_the_background_in_order(
    shell: Shell, tmp_path: Path, silent: Stubborn, number: signal.Signals, in_the_background: None
) -> None:
    """The same, though nobody listens to Ctrl-C: nothing is raised into the middle of the event loop."""
    test_a_signal_ends_a_command_in_order(shell, tmp_path, silent, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_command_in_order(
    shell: Shell, tmp_path: Path, silent: Stubborn, number: signal.Signals
) -> None:
    """Exit 130, no traceback, and the job is there to go on with."""
    (tmp_path / "talk.mp4").write_bytes(b"\0" * 1000)
    with shell.start("send", "talk.mp4", "--to", silent.url, "--progress", "none") as process:
        assert silent.asked.wait(30)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    assert (
        stderr.lstrip()
        == "stopped; nothing is lost\n\nhint: the same command again goes on, as does `speechstream resume`\n"
    )
    (job,) = map(json.loads, shell.run("jobs", "--json").stdout.splitlines())
    assert job["state"] == "uploading"
    assert job["source"] == str(tmp_path / "talk.mp4")


HIT_WHILE_ENDING = """
import atexit, os, signal, sys
from engine.cli import main
atexit.register(lambda: os.kill(os.getpid(), signal.Signals[sys.argv.pop()]))
main()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_after_the_result_undoes_nothing(shell: Shell, name: str) -> None:
    """What was done and told stays a success, though a signal meets the interpreter while it ends."""
    command = [*shell.command("--version", program=HIT_WHILE_ENDING), name]
    done = subprocess.run(command, env=shell.environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("speechstream ")


HIT_WHILE_A_THREAD_STARTS = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
starting = threading.Thread.start

def start(thread):
    starting(thread)
    if thread.name.startswith("AnyIO"):
        os.kill(os.getpid(), signal.Signals[name])

threading.Thread.start = start
sys.argv[0], name = "speechstream", sys.argv.pop()
from engine.cli import main
main()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_in_the_background_of_a_script_ends_a_command(
    shell: Shell, tmp_path: Path, silent: Stubborn, name: str
) -> None:
    """Where SIGINT is ignored TERM still ends the command, even while it starts a thread: 130, and no hanging."""
    (tmp_path / "talk.mp4").write_bytes(bytes(1000))
    words = ("send", "talk.mp4", "--to", silent.url, "--progress", "none", name)
    done = shell.run(*words, program=HIT_WHILE_A_THREAD_STARTS)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.lstrip().startswith("stopped; nothing is lost\n\nhint: ")


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        number: int = door.getsockname()[1]
        return number


def test_a_server_that_is_not_there(shell: Shell, tmp_path: Path) -> None:
    """Exit 75 when patience ends: nothing is lost, and the hint names the command that goes on."""
    (tmp_path / "talk.mp4").write_bytes(b"\0" * 1000)
    done = shell.run("send", "talk.mp4", "--to", f"http://127.0.0.1:{closed_port()}/", "--retry-for", "0")
    assert (done.returncode, done.stdout) == (75, "")
    assert "made no progress for 0 seconds" in done.stderr
    assert "hint: nothing is lost; when the network is better: `speechstream resume " in done.stderr


def test_a_key_that_is_not_good(shell: Shell, forbidding: Stubborn) -> None:
    """Exit 75 at once; the key is in no line, however much is asked to be said."""
    shell.environment["SPEECHSTREAM_API_KEY"] = "sk-secret-0123456789"
    done = shell.run("status", "id-1", "--endpoint", forbidding.url, "-vv")
    assert (done.returncode, done.stdout) == (75, "")
    assert "did not accept the API key" in done.stderr
    assert "GET http" in done.stderr
    assert "sk-secret" not in done.stderr


@pytest.mark.parametrize(("no_colour", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_whose_owner_wants_it(shell: Shell, no_colour: str, coloured: bool) -> None:  # noqa: FBT001 - a column
    """On a terminal the label is coloured, and NO_COLOR takes that away."""
    shell.environment["NO_COLOR"] = no_colour
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            shell.command("show", "nobody"),
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            timeout=60,
            check=False,
        )
        text = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert ("\x1b[" in text) is coloured
    assert "There is no job 'nobody'" in text


def test_a_reader_that_leaves_is_no_error(shell: Shell, tmp_path: Path) -> None:
    """`speechstream jobs | head -1` ends quietly."""
    (tmp_path / "talk.mp4").write_bytes(b"\0" * 1000)
    shell.run("send", "talk.mp4", "--to", f"http://127.0.0.1:{closed_port()}/", "--retry-for", "0")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            shell.command("jobs"),
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_is_no_text(shell: Shell) -> None:
    """Stray bytes in a name are a name that is not there, not a fault of the program."""
    done = shell.run("show", os.fsdecode(b"\xff"))
    assert done.returncode == 1
    assert "There is no job" in told(done.stderr)[0]


@pytest.mark.parametrize("header", ["no colon", "Na me: x", "X: line\nbreak", "X: ü", ": x"])
def test_a_header_that_cannot_be_sent(shell: Shell, header: str) -> None:
    """It is refused as typed wrong before anything is done."""
    done = shell.run("send", "talk.mp4", "--to", "http://127.0.0.1:9/", "--header", header)
    assert done.returncode == 1
    assert "write it as 'Name: value'" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--metadata", "no-equals-sign"), "write it as KEY=VALUE"),
        (("--metadata", "two words=x"), "write it as KEY=VALUE"),
        (("--metadata", "filename=other.ogg"), "filename is told anyway"),
        (("--request-size", "6 potatoes"), "write 6MiB, 50MB or 1048576"),
        (("--request-size", "0"), "write 6MiB, 50MB or 1048576"),
        (("--request-size", "17MiB", "--checksum"), "With checksums a request has at most 16777216 bytes"),
        (("--upload-url", "http://127.0.0.1:9/files/u"), "to a creation URL or to an upload URL"),
    ],
)
def test_a_delivery_that_cannot_be_asked_for(shell: Shell, words: tuple[str, ...], said: str) -> None:
    """It is refused before anything is done."""
    done = shell.run("send", "talk.mp4", "--to", "http://127.0.0.1:9/", *words)
    assert done.returncode == 1
    assert said in done.stderr


def test_its_version(shell: Shell) -> None:
    """Name and number."""
    done = shell.run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("speechstream ")
