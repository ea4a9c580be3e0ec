"""The tus servers that nobody here wrote, what our client goes through with each, and what must come of it.

Data alone: `test_servers.py` runs every cell, and `matrix.py` writes the page from the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from tests.faults.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB: Final = 1 << 20
PART_BYTES: Final = 8 * MIB  # our unit of proof
# Three appends of a client that begins with 1 MiB and grows fourfold; not a multiple of anything.
BROKEN_BYTES: Final = 9_000_001
BREAK_AFTER_BYTES: Final = 7_000_000  # in the middle of the third append
BREAK_LANE_AFTER_BYTES: Final = 1_500_000  # in the second append of one of two lanes or more
FIRST_APPEND_BYTES: Final = MIB
NO_FAULT: Final = Fault()


class Outcome(Enum):
    """What must come of a run: always the right bytes under the URL that is printed, or no URL.

    The value says it in the page's table.
    """

    EXACT = "✓"
    WHOLE_AGAIN = "✓ sent twice"
    REFUSED = "refused"
    UNPROVED = "length only"


class Kill(Enum):
    """Who is killed half way."""

    NOBODY = ""
    CLIENT = "client"
    UNHEARD = "client, and the link to it, so that the server does not hear of it"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Server:
    """A tus server that nobody here wrote.

    Attributes:
        id: one word, for tests.
        name: what it is called, with its version and where it is from.
        runtime: what runs the script of peers/ that `command` begins with: "node" or "python".
        finished: where under its folder a finished upload lies, by the last segment of its URL.
        append_max_bytes: the largest part of an append that an interruption may cost.
        refused_max_bytes: the largest append that it lets come before it refuses the size, once a run.
        buffering: whether the nginx before it waits for whole requests; None where there is no nginx.
        body_max: the largest request that nginx takes, in its own words; "0" is any.
        checksum: whether it offers the checksum extension.
        lanes: how many connections our client may use.
        joins: whether it does, as the server joins what they bring.
        dead_for_s: how long a dead connection stays unknown to the server in a test; for ever where it can bear that.
        quirks: what a client has to bear with it.
    """

    id: str
    name: str
    runtime: str
    command: tuple[str, ...]
    finished: str
    append_max_bytes: int
    refused_max_bytes: int = 0
    buffering: bool | None = None
    body_max: str = "0"
    checksum: bool = False
    lanes: int = 4
    joins: bool = False
    dead_for_s: float | None = None
    quirks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Circumstances of one delivery.

    Attributes:
        id: one word, for tests.
        title: what happens, for people.
        size_bytes: the recording's size.
        fault: what the link does, once.
        kill: who is killed when half of the bytes have passed.
        options: of the command.
        lanes: whether it is one for several lanes, for one lane, or for both (None).
        servers: the ones it is gone through with, if not with all: it takes long, and the others are no other case.
    """

    id: str
    title: str
    size_bytes: int
    fault: Fault = NO_FAULT
    kill: Kill = Kill.NOBODY
    options: tuple[str, ...] = ()
    lanes: bool | None = None
    servers: frozenset[str] | None = None


# A reset throws away what a server that is late had not read yet: its socket may hold 6 MB (tcp_rmem of tcp(7)).
IN_FLIGHT_BYTES: Final = 3 * MIB
LARGEST_APPEND_BYTES: Final = 16 * MIB

_TUS_NODE: Final = ("tus-server.mjs", "{ip}", "{port}", "{folder}")
_TUSPYSERVER: Final = ("asgi_server.py", "tuspyserver", "{ip}", "{port}", "{folder}")
SERVERS: Final = (
    Server(
        "tus-node-server",
        "@tus/server 2.4.5 with @tus/file-store 2.1.1 (npm)",
        "node",
        _TUS_NODE,
        "{id}",
        IN_FLIGHT_BYTES,
        quirks=(
            "a HEAD during an append of a dead connection takes up to 3 s and ends that append",
            "a wrong Tus-Resumable is 400, a missing one 412",
        ),
    ),
    Server(
        "uploadx",
        "@uploadx/core 7.0.3 (npm)",
        "node",
        ("uploadx-server.mjs", "{ip}", "{port}", "{folder}"),
        "{id}",
        IN_FLIGHT_BYTES,
        checksum=True,
        quirks=(
            "its Location begins with `//`",
            "it says no Tus-Version",
            "it takes an append at any offset, and writes it there",
            "its last append is answered by 200",
        ),
    ),
    Server(
        "tuspyserver",
        "tuspyserver 4.4.3 under uvicorn 0.54.0 (PyPI)",
        "python",
        _TUSPYSERVER,
        "{id}",
        IN_FLIGHT_BYTES,
        lanes=1,
        dead_for_s=5.0,  # until then its lock is held
        quirks=(
            "a dead connection keeps its lock, and an append then stops the whole server for 30 s before it is 503",
            "OPTIONS is only answered under the path with a trailing slash",
            "a HEAD of an upload without `filename` or `filetype` is refused",
            "killed in an append it forgets what it wrote and goes on behind it: wrong bytes, and no reply tells",
        ),
    ),
    Server(
        "tuspyserver-lanes",
        "the same, over 4 lanes",
        "python",
        _TUSPYSERVER,
        "{id}",
        4 * IN_FLIGHT_BYTES,
        joins=True,
        quirks=("it deletes the lanes when it has joined them, so a join whose answer is lost cannot be repeated",),
    ),
    Server(
        "tussi",
        "tussi 3.1.0 under uvicorn 0.54.0 (PyPI)",
        "python",
        ("asgi_server.py", "tussi", "{ip}", "{port}", "{folder}"),
        "completed/{id}",
        LARGEST_APPEND_BYTES,
        refused_max_bytes=16 * MIB,
        quirks=(
            "an append of more than 10 MiB is 413",
            "an append that breaks off leaves nothing",
            "a finished upload is moved away: its URL answers 404",
        ),
    ),
    Server(
        "nginx-buffering",
        "nginx 1.22 with `proxy_request_buffering on` before @tus/server (Debian)",
        "node",
        _TUS_NODE,
        "{id}",
        LARGEST_APPEND_BYTES,
        refused_max_bytes=4 * MIB,
        buffering=True,
        body_max="1m",
        quirks=(
            "an append that breaks off never reaches the server",
            "`client_max_body_size 1m`: a larger append is 413, in HTML and without any header of tus",
            "502 while the server behind it is down",
        ),
    ),
    Server(
        "nginx-streaming",
        "nginx 1.22 with `proxy_request_buffering off` before @tus/server (Debian)",
        "node",
        _TUS_NODE,
        "{id}",
        IN_FLIGHT_BYTES,
        buffering=False,
        quirks=("502 while the server behind it is down",),
    ),
)

_IN_AN_APPEND: Final = "PATCH "
_LAST_APPEND: Final = f"Upload-Offset: {FIRST_APPEND_BYTES}\r"
SCENARIOS: Final = (
    Scenario("clean", "20 MB over a good link", 20_000_003),
    Scenario("empty", "0 bytes", 0),
    Scenario("one-byte", "1 byte", 1),
    Scenario("part-less", "a byte less than a part of 8 MiB", PART_BYTES - 1),
    Scenario("part", "exactly a part", PART_BYTES),
    Scenario("part-more", "a byte more than a part", PART_BYTES + 1),
    Scenario("checksum", "with `--checksum`", BROKEN_BYTES, options=("--checksum",)),
    Scenario(
        "checksum-cut",
        "with `--checksum`, a reset in an append",
        BROKEN_BYTES,
        Fault(cut_up_after_bytes=BREAK_AFTER_BYTES, armed_by=_IN_AN_APPEND),
        options=("--checksum",),
    ),
    Scenario(
        "reset",
        "the connection is reset in an append",
        BROKEN_BYTES,
        Fault(cut_up_after_bytes=BREAK_AFTER_BYTES, armed_by=_IN_AN_APPEND),
    ),
    Scenario(
        "fin",
        "the connection is closed in an append",
        BROKEN_BYTES,
        Fault(cut_up_after_bytes=BREAK_AFTER_BYTES, cut_by="fin", armed_by=_IN_AN_APPEND),
    ),
    Scenario(
        "black-hole",
        "nothing moves any more in an append, and nobody is told",
        BROKEN_BYTES,
        Fault(black_hole_after_bytes=BREAK_AFTER_BYTES, armed_by=_IN_AN_APPEND),
        servers=frozenset({"tus-node-server"}),
    ),
    Scenario(
        "lost-creation",
        "the answer to the creation is lost",
        BROKEN_BYTES,
        Fault(cut_down_after_bytes=0, armed_by="POST "),
    ),
    Scenario(
        "lost-append",
        "the answer to an append is lost",
        BROKEN_BYTES,
        Fault(cut_down_after_bytes=0, armed_by=_IN_AN_APPEND),
    ),
    Scenario(
        "lost-end",
        "the answer to the last append is lost",
        2 * FIRST_APPEND_BYTES - 1,
        Fault(cut_down_after_bytes=0, armed_by=_LAST_APPEND),
        lanes=False,
    ),
    Scenario(
        "lost-join",
        "the answer to the joining of lanes is lost",
        BROKEN_BYTES,
        Fault(cut_down_after_bytes=0, armed_by="Upload-Concat: final"),
        lanes=True,
    ),
    Scenario("client-killed", "our client is killed half way and run again", BROKEN_BYTES, kill=Kill.CLIENT),
    Scenario(
        "killed-unheard",
        "our client is killed half way, its connection never ends, and it is run again",
        BROKEN_BYTES,
        kill=Kill.UNHEARD,
        lanes=False,
    ),
    Scenario("server-killed", "the server is killed half way and comes back", BROKEN_BYTES, kill=Kill.SERVER),
)
EXCEPTIONS: Final = {
    ("tuspyserver", "server-killed"): Outcome.UNPROVED,
    ("tuspyserver-lanes", "server-killed"): Outcome.UNPROVED,
    ("tuspyserver-lanes", "lost-join"): Outcome.WHOLE_AGAIN,
    ("tussi", "lost-end"): Outcome.WHOLE_AGAIN,
}


def outcome(server: Server, scenario: Scenario) -> Outcome:
    """What must come of a scenario with a server."""
    if scenario.size_bytes == 0:
        return Outcome.REFUSED
    return EXCEPTIONS.get((server.id, scenario.id), Outcome.EXACT)


def sent_again_max_bytes(server: Server, scenario: Scenario) -> int:
    """How much may be sent twice, requests and their headers included."""
    talk = 64 << 10
    runs = 2 if scenario.kill in {Kill.CLIENT, Kill.UNHEARD} else 1
    refused = server.refused_max_bytes * runs
    if outcome(server, scenario) is Outcome.WHOLE_AGAIN:
        return scenario.size_bytes + talk + refused
    if scenario.fault == NO_FAULT and scenario.kill is Kill.NOBODY:
        return talk + refused
    if scenario.kill is Kill.UNHEARD and server.dead_for_s is not None:
        return talk + LARGEST_APPEND_BYTES  # appends are sent and refused until the server hears of the end
    # what a checksum covers is judged as a whole, so nothing of a broken append is kept
    return talk + refused + (LARGEST_APPEND_BYTES if "--checksum" in scenario.options else server.append_max_bytes)


def cells() -> Iterator[tuple[Server, Scenario]]:
    """Every server in every scenario that means something with it."""
    for server in SERVERS:
        for scenario in SCENARIOS:
            offered = server.checksum or "--checksum" not in scenario.options
            meant = scenario.servers is None or server.id in scenario.servers
            if offered and meant and scenario.lanes in {None, server.joins}:
                yield server, _fitted(scenario, server)


def _fitted(scenario: Scenario, server: Server) -> Scenario:
    """The scenario with the options of the server, and its break where a lane of this server's comes by."""
    fault = scenario.fault
    if server.joins and fault.cut_up_after_bytes is not None:
        fault = replace(fault, cut_up_after_bytes=BREAK_LANE_AFTER_BYTES)
    return replace(scenario, fault=fault, options=(*scenario.options, "--max-lanes", str(server.lanes)))
