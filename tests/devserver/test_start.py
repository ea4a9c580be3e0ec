"""How the service starts, and when it refuses to."""

import ast
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from engine.devserver.errors import SetupError
from engine.devserver.keys import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.devserver.conftest import Service

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "engine" / "devserver"


def refused(*options: str) -> str:
    """What a service that does not start says."""
    ended = subprocess.run(
        [sys.executable, "-m", "engine.devserver", "--port", "0", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_others_are_let_in_only_with_a_key_file(tmp_path: Path) -> None:
    """A generated key is for one's own machine."""
    assert "--key-file" in refused("--data", str(tmp_path), "--host", "0.0.0.0")


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The message is the command that mends it."""
    key_file = tmp_path / "keys"
    key_file.write_text("key\n")
    key_file.chmod(0o640)
    assert f"chmod 600 {key_file}" in refused("--data", str(tmp_path), "--key-file", str(key_file))


@pytest.mark.parametrize("text", ["", "# nothing\n", "two words\n", "a:b:c\n", "\xff\n"])
def test_a_key_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    """And its text is not repeated."""
    key_file = tmp_path / "keys"
    key_file.write_bytes(text.encode("latin-1"))
    key_file.chmod(0o600)
    with pytest.raises(SetupError) as caught:
        Keyring.read(key_file)
    assert "two words" not in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(SetupError, match="No such file"):
        Keyring.read(tmp_path / "absent")


def test_a_key_has_a_name_or_gets_one() -> None:
    """The account of a nameless key is the same at every start and does not tell the key."""
    ring = Keyring.parse(["ann:one", "two"], source="test")
    assert ring.account("one") == "ann"
    account = ring.account("two")
    assert account == Keyring.parse(["two"], source="test").account("two")
    assert account is not None
    assert "two" not in account
    assert ring.account("three") is None
    assert "one" not in repr(ring)


def test_a_newer_database_is_left_alone(start: "Callable[..., Service]", tmp_path: Path) -> None:
    """Going back to an older version must not spoil the data."""
    service = start()
    service.end()
    with sqlite3.connect(service.data / "state.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert "newer version" in refused("--data", str(service.data))


def test_a_port_in_use_is_told(service: "Service", tmp_path: Path) -> None:
    """With address and port."""
    port = str(service.http.base_url.port)
    assert f"port {port}" in refused("--data", str(tmp_path), "--port", port)


def test_without_keys_one_is_made_and_shown_once(tmp_path: Path) -> None:
    """It is on stderr, it works, and it is nowhere in the data folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.devserver", "--data", str(tmp_path / "data"), "--port", "0"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        key = process.stderr.readline().split()[-1]
        assert "listens at http://127.0.0.1:" in process.stderr.readline()
        process.terminate()
    assert process.returncode == 0
    assert len(key) == 32
    for file in (tmp_path / "data").rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes()


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """A client that is killed does not leave a server behind."""
    script = (
        "import subprocess, sys;"
        "p = subprocess.Popen([sys.executable, '-m', 'engine.devserver', '--data', sys.argv[1], '--port', '0',"
        " '--exit-with-parent', '--announce', 'json'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL);"
        "p.stdout.readline(); print(p.pid, flush=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=30,
        check=True,
    )
    server = int(ended.stdout)
    for _ in range(500):
        if not psutil.pid_exists(server) or psutil.Process(server).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def test_nothing_of_the_client_is_imported() -> None:
    """A server that shared the client's parsers would share its bugs."""
    for file in OWN.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{file.name} line {node.lineno}"
                assert not (node.module or "").startswith(("engine", "preprocess")), file.name
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith(("engine", "preprocess")) for name in node.names), file.name


def test_the_package_itself_imports_nothing() -> None:
    """The worker's start must not pay for a web framework."""
    code = "import sys, engine.devserver, engine.devserver.decode; assert 'starlette' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30)
