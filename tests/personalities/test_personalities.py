"""`speechstream send` gets along with servers of all manners: the bytes arrive, the key stays where it belongs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.command import Command, environment
from tests.personalities.manners import PERSONALITIES, Cloudflare, GoneWhenDone, Supabase, Vimeo
from tests.personalities.server import Personality, PersonalServer

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

KEY = "Bearer a-key-of-the-server"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file whose every part differs from every other."""
    path = tmp_path / "recording.bin"
    path.write_bytes(random.Random(4).randbytes(Personality.announced_bytes))
    return path


def kept(personality: Personality) -> dict[str, bytes]:
    """The uploads that a server has by id, moved ones too; lanes do not count."""
    moved = personality.moved if isinstance(personality, GoneWhenDone) else {}
    uploads = {**personality.uploads, **moved}
    return {name: bytes(upload.content) for name, upload in uploads.items() if not upload.partial}


@pytest.mark.parametrize("kind", PERSONALITIES, ids=lambda kind: kind.__name__)
def test_send(kind: type[Personality], recording: Path, tmp_path: Path, authority: Path, tls: ssl.SSLContext) -> None:
    """One upload of the right bytes under the printed URL, and the key at no other host."""
    with (
        PersonalServer(kind(), tls if kind.tls else None) as server,
        PersonalServer(Personality()) as other,
    ):
        server.personality.elsewhere = other.origin
        other.personality.uploads = server.personality.uploads
        other.personality.refuse = server.personality.refuse  # type: ignore[method-assign]  # two hosts, one server
        options = [f"{server.creation_url}/u1" if word == "URL" else word for word in kind.options]
        where = () if kind is Vimeo else ("--to", server.creation_url)
        words = ("send", str(recording), *where, "--header", f"Authorization: {KEY}", *options)
        surroundings = environment(tmp_path / "state", "http://127.0.0.1:9/v1") | {"SSL_CERT_FILE": str(authority)}
        with Command(words, surroundings) as command:
            code, printed = command.finish()

    assert code == 0, command.complaints
    printed_id = printed.strip().partition("?")[0].rpartition("/")[2]
    assert kept(server.personality) == {printed_id: recording.read_bytes()}
    assert not any("authorization" in asked.headers for asked in other.personality.asked)
    assert all(asked.headers["authorization"] == KEY for asked in server.personality.asked)


@pytest.mark.parametrize("kind", [Cloudflare, Supabase], ids=lambda kind: kind.__name__)
def test_a_size_that_nobody_named(kind: type[Personality], recording: Path, tmp_path: Path) -> None:
    """A server whose rule of sizes is not known ends the upload soon, and the hint names the option that is missing."""
    options = [word for word in kind.options if word != "--request-size" and not word.endswith("MiB")]
    with PersonalServer(kind()) as server:
        words = ("send", str(recording), "--to", server.creation_url, *options)
        with Command(words, environment(tmp_path / "state", "http://127.0.0.1:9/v1")) as command:
            code, printed = command.finish()

    assert (code, printed) == (2, "")
    assert "`--request-size`" in "".join(command.complaints)
