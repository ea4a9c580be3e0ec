"""What is left when connections, the server or the machine die: the offset is the truth."""

import fcntl
import resource
import signal
import socket
import sqlite3
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds
Start = Callable[..., "Service"]


def stored(service: "Service") -> list[bytes]:
    """The bytes of all uploads."""
    return [file.read_bytes() for file in (service.data / "uploads").iterdir()]


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("sent", [1, 65_535, 200_001, 900_000])
def test_a_cut_patch_keeps_every_byte_that_arrived(service: "Service", noise: bytes, sent: int, *, reset: bool) -> None:
    """After a connection dies in mid-body the upload stands at what was sent, and goes on to the end."""
    path = service.create(len(noise))
    line = service.half_sent(path, 0, len(noise), noise[:sent])
    if reset:
        service.wait_for(lambda: service.offset_unasked(path) == sent)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    line.close()
    service.wait_for(lambda: service.offset_unasked(path) == sent)
    assert service.offset(path) == sent
    assert service.patch(path, sent, noise[sent:]).headers["Upload-Offset"] == str(len(noise))
    assert noise in stored(service)


def test_a_cut_patch_with_a_checksum_keeps_nothing(
    service: "Service", noise: bytes, encoded: Callable[[bytes], str]
) -> None:
    """Bytes that were to be proved and cannot be are dropped."""
    path = service.create(len(noise))
    service.patch(path, 0, noise[:5])
    head = f"sha1 {encoded(bytes(20))}"
    line = service.half_sent(path, 5, 1000, noise[5:500], **{"Upload-Checksum": head})
    service.wait_for(lambda: service.offset_unasked(path) == 500)
    line.close()
    assert service.offset(path) == 5


def test_a_head_takes_over_from_a_patch_that_hangs(service: "Service", noise: bytes) -> None:
    """A dead connection does not make a living client wait, and what it brought counts."""
    path = service.create(len(noise))
    with service.half_sent(path, 0, len(noise), noise[:300_000]) as line:
        service.wait_for(lambda: service.offset_unasked(path) == 300_000)
        assert service.offset(path) == 300_000
        assert line.recv(65536).startswith(b"HTTP/1.1 423")
    assert service.patch(path, 300_000, noise[300_000:]).status_code == 204
    assert noise in stored(service)


def test_a_patch_takes_over_from_a_patch_that_hangs(service: "Service", noise: bytes) -> None:
    """A client that knows where it stands needs no HEAD."""
    path = service.create(len(noise))
    with service.half_sent(path, 0, len(noise), noise[:70_000]):
        service.wait_for(lambda: service.offset_unasked(path) == 70_000)
        assert service.patch(path, 70_000, noise[70_000:]).status_code == 204
    assert noise in stored(service)


def test_a_delete_takes_over_from_a_patch_that_hangs(service: "Service") -> None:
    """Cancelling works whatever else goes on."""
    path = service.create(1000)
    with service.half_sent(path, 0, 1000, b"x"):
        assert service.http.delete(path, headers=service.tus).status_code == 204
    assert service.head(path).status_code == 410


def test_an_early_refusal_reaches_a_client_that_still_sends(service: "Service", noise: bytes) -> None:
    """The connection is not reset under an answer that is still to be read."""
    length = 12 * len(noise)
    path = service.create(length)
    with service.half_sent(path, 7, length, noise) as line:
        for _ in range(11):
            line.sendall(noise)
        assert line.recv(65536).startswith(b"HTTP/1.1 409")


@pytest.mark.parametrize("sent", [100, 400_000, 1_000_000])
def test_a_killed_server_has_no_byte_that_was_not_sent(start: Start, noise: bytes, sent: int) -> None:
    """After kill -9 in mid-PATCH the offset is that of bytes on the disk, and the rest completes the file."""
    service = start()
    path = service.create(len(noise))
    service.patch(path, 0, noise[:50])
    line = service.half_sent(path, 50, len(noise) - 50, noise[50 : 50 + sent])
    service.wait_for(lambda: service.offset_unasked(path) > 50)
    service.end(signal.SIGKILL)
    line.close()
    again = start()
    offset = again.offset(path)
    assert 50 < offset <= 50 + sent
    assert stored(again) == [noise[:offset]]
    assert again.patch(path, offset, noise[offset:]).status_code == 204
    assert stored(again) == [noise]


def test_a_server_killed_in_a_checksummed_patch_forgets_its_bytes(
    start: Start, noise: bytes, encoded: Callable[[bytes], str]
) -> None:
    """What had yet to be proved is not there after the restart."""
    service = start()
    path = service.create(1000)
    service.patch(path, 0, noise[:5])
    checksum = {"Upload-Checksum": f"sha1 {encoded(bytes(20))}"}
    line = service.half_sent(path, 5, 995, noise[:500], **checksum)
    service.wait_for(lambda: service.offset_unasked(path) == 505)
    service.end(signal.SIGKILL)
    line.close()
    again = start()
    assert again.offset(path) == 5
    assert stored(again) == [noise[:5]]


def test_after_a_crash_of_the_machine_only_synced_bytes_count(start: Start, noise: bytes) -> None:
    """A file may have grown by bytes that never reached the disk; a new boot does not trust them."""
    service = start()
    path = service.create(1000)
    service.patch(path, 0, noise[:500])
    service.end(signal.SIGKILL)
    (file,) = (service.data / "uploads").iterdir()
    with file.open("ab") as torn:
        torn.write(bytes(100))
    with sqlite3.connect(service.data / "state.db") as db:
        db.execute("UPDATE about SET value = 'an earlier boot' WHERE name = 'boot'")
    db.close()
    again = start()
    assert again.offset(path) == 500
    assert stored(again) == [noise[:500]]


def test_sigterm_settles_running_patches_and_ends_at_once(start: Start, noise: bytes) -> None:
    """What had arrived is there after the restart, and the exit status is 0."""
    service = start()
    path = service.create(len(noise))
    with service.half_sent(path, 0, len(noise), noise[:123_456]) as line:
        service.wait_for(lambda: service.offset_unasked(path) == 123_456)
        assert service.end(signal.SIGTERM) == 0
        assert line.recv(65536).startswith(b"HTTP/1.1 503")
    assert start().offset(path) == 123_456


def test_sigint_is_an_ordinary_end(start: Start) -> None:
    """Ctrl-C leaves no traceback."""
    service = start()
    assert service.end(signal.SIGINT) == 0
    assert "Traceback" not in service.log


def test_the_server_goes_with_its_client(start: Start) -> None:
    """When stdin ends, the service ends."""
    service = start()
    assert service.process.stdin is not None
    service.process.stdin.close()
    assert service.process.wait(timeout=10) == 0


def test_two_servers_share_a_folder(start: Start, noise: bytes) -> None:
    """An upload begun at one goes on at the other."""
    one, two = start(), start()
    path = one.create(len(noise))
    one.patch(path, 0, noise[:1000])
    assert two.offset(path) == 1000
    assert two.patch(path, 1000, noise[1000:]).status_code == 204
    assert one.offset(path) == len(noise)


def test_another_process_at_the_same_upload_is_waited_for(service: "Service") -> None:
    """The lock of a file keeps two servers apart; who has to wait too long is told to come again."""
    path = service.create(5)
    with service.file(path).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        reply = service.head(path)
    assert reply.status_code == 423
    assert int(reply.headers["Retry-After"]) >= 1
    assert service.offset(path) == 0


def test_a_full_disk_is_told_and_costs_only_what_did_not_fit(start: Start, noise: bytes) -> None:
    """507 says so; once there is room the upload goes on to its last byte."""
    service = start("--no-transcriber")
    pid = service.process.pid
    path = service.create(len(noise))
    service.patch(path, 0, noise[:300_000])
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (600_000, unlimited[1]))
    assert service.patch(path, 300_000, noise[300_000:]).status_code == 507
    single = service.http.post("/v1/upload", files={"file": noise})
    assert single.status_code == 507
    assert list((service.data / "recordings").iterdir()) == []
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    offset = service.offset(path)
    assert 300_000 <= offset <= 600_000
    assert service.patch(path, offset, noise[offset:]).status_code == 204
    assert stored(service) == [noise]
