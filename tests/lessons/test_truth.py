"""What others believed too easily, and what others let a user's words replace."""

from __future__ import annotations

import io
import random
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from engine.core.plan import open_lane
from engine.errors import ConfigError, KeyRejected
from engine.events import Warned
from engine.model import MAX_LANES, OPEN_END
from tests.faults.scripted import TEXT, Asked, reply
from tests.faults.service import Service
from tests.lessons.home import CREATION, PATCH, Home, from_nth
from tests.lessons.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.mark.anyio
async def test_google_cloud_swift_861_bytes_that_were_never_sent_are_not_skipped(home: Home) -> None:
    """A server that claims more than it was offered is not believed: a new upload gets the whole recording."""
    service, size = home.service, 12 * MIB
    home.recording.write_bytes(random.Random(3).randbytes(size))
    service.replying = from_nth(PATCH, 2, reply(401))
    with pytest.raises(KeyRejected):
        await home.transcribe()
    first = next(iter(service.uploads))

    def claiming(asked: Asked) -> bytes | None:
        if asked.method == "HEAD" and asked.path.endswith(first):
            return reply(200, {"Upload-Offset": str(size - 1), "Upload-Length": str(size)})
        return None

    service.replying = claiming
    assert await home.transcribe() == TEXT
    warnings = [event.message for event in home.told if isinstance(event, Warned)]
    assert warnings == ["the server claims bytes that were never sent; a new upload is begun"]
    assert service.requests.count(CREATION) == 2
    assert list(service.jobs.values()) == [home.recording.read_bytes()]


@pytest.mark.parametrize(
    ("option", "addition", "said"),
    [
        ("--metadata", "filename=other.mp4", "is told anyway"),
        ("--metadata", "filetype=text/html", "is told anyway"),
        ("--header", "Idempotency-Key: mine", "protocol's own"),
        ("--header", "upload-offset: 0", "protocol's own"),
        ("--header", "Content-Length: 7", "protocol's own"),
    ],
)
def test_s5cmd_what_a_user_tells_the_server_replaces_nothing_of_ours(
    tmp_path: Path, option: str, addition: str, said: str
) -> None:
    """What we say ourselves is refused as an addition, before anything is asked of any server."""
    (tmp_path / "recording.bin").write_bytes(b"speech")
    shell = Shell("http://127.0.0.1:9/v1", tmp_path, tmp_path / "recording.bin")
    code, _ = shell.run("send", str(shell.recording), "--to", "http://127.0.0.1:9/files/", option, addition)
    assert code == 1
    assert said in shell.heard


@pytest.mark.anyio
async def test_s5cmd_metadata_told_twice_is_told_not_at_all(home: Home) -> None:
    """Keys of Upload-Metadata are unique (tus 1.0.0): ours and the library's caller's together."""
    for metadata in ((("filename", "other.mp4"),), (("topic", "a"), ("topic", "b"))):
        async with home.client() as client:
            with pytest.raises(ConfigError, match="would be told twice"):
                await client.send(home.recording, f"{home.service.endpoint}/uploads", metadata=metadata)
    assert home.service.requests == []


def test_aws_cli_923_no_number_of_parts_ends_a_pipe() -> None:
    """Lanes of unknown length follow each other without a gap, and the last of all takes whatever still comes."""
    lanes = [open_lane(index) for index in range(MAX_LANES)]
    assert lanes[0].start == 0
    assert all(one.stop == other.start for one, other in pairwise(lanes))
    assert lanes[-1].start > 1 << 40
    assert lanes[-1].stop == OPEN_END


@pytest.mark.long
def test_aws_cli_2390_a_pipe_of_any_length_takes_little_memory(tmp_path: Path) -> None:
    """300 MB through a pipe: the program never holds more than 120 MiB, and the service has every byte."""
    piece, pieces = random.Random(9).randbytes(MIB), 300
    with Service(tmp_path / "service") as service:
        shell = Shell(f"http://127.0.0.1:{service.port}/v1", tmp_path, tmp_path)
        with shell.command("upload", "-", listens=True) as command:
            assert isinstance(command.process.stdin, io.TextIOWrapper)
            for _ in range(pieces):
                command.process.stdin.buffer.write(piece)
                command.sample()
            command.process.stdin.close()
            while not command.ended:
                command.sample()
                time.sleep(0.02)
            code, printed = command.finish()
        assert (code, [printed.strip()]) == (0, service.jobs())
        assert 20 << 10 < command.peak_kib < 120 << 10
        (arrived,) = service.recordings().values()
        with arrived.open("rb") as file:
            assert all(file.read(MIB) == piece for _ in range(pieces))
            assert file.read() == b""
