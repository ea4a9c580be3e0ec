"""Writes docs/interop.md from the tables that the tests run: `python -m tests.interop.matrix > docs/interop.md`."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING

from tests.interop import clients, servers
from tests.interop.clients import CLIENTS, Circumstance
from tests.interop.servers import SCENARIOS, SERVERS, Outcome
from tests.personalities.manners import PERSONALITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.personalities.server import Personality

_INTRODUCTION = """\
# Strangers

What was proved with programs that nobody here wrote. This page is made from the tables that the tests run, by
`python -m tests.interop.matrix > docs/interop.md`; a test holds that it is current. `.ci/peers` installs the programs,
CI runs every cell and skips none.
"""
_SERVERS = """\
## Our client with their servers

`speechstream send`, the real command, through a proxy that breaks connections. ✓ means: exit code 0, the bytes under
the printed URL equal the recording's, what was sent twice stays within what the server cannot have kept, and the same
command again prints the same URL and opens no connection. tus lets a server say how many bytes it has, not which: the
end line says `length only`, and `verified by server` where a server was seen to look at the checksums of `--checksum`.
"""
_MEANINGS = {
    Outcome.EXACT: None,
    Outcome.WHOLE_AGAIN: (
        "right bytes, all of them sent again: the server said that the upload is not there, which may be true"
    ),
    Outcome.REFUSED: "our client refuses an empty recording before it asks anybody (exit code 1)",
    Outcome.UNPROVED: (
        "exit code 0, but after its kill the server's own count is wrong, and no reply tells. That is why the end line "
        "says `length only`: what is delivered to this server is to be compared there"
    ),
}
_CLIENTS = """\
## Their clients with our service

The same in the other direction. ✓ means: the service compared the digests of all parts and made a job of the upload,
the job's bytes equal the file's, and no more was sent twice than was in flight. An empty cell: not a thing this client
can do at all (it keeps no URL for another run) or not another case.
"""
_PERSONALITIES = """\
## Servers that cannot be had here

Mimicked by a server of our own that shares no code with the program (`tests/personalities`), after their documentation
and, for tusd, its source; and single bad manners that have been met. With each of them `speechstream send` delivers
13 MB: exit code 0, one upload of the right bytes, and the key seen by no other host. The options are what a person must
add; the sizes that Cloudflare and Supabase publish are known for their own addresses and need none there.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_server_section(), *_client_section(), *_personality_section()])


def _server_section() -> Iterator[str]:
    yield _SERVERS
    run = {(server.id, scenario.id) for server, scenario in servers.cells()}
    yield _table(
        ["", *(f"`{server.id}`" for server in SERVERS)],
        (
            [
                scenario.title,
                *(_cell(server, scenario) if (server.id, scenario.id) in run else "" for server in SERVERS),
            ]
            for scenario in SCENARIOS
        ),
    )
    for meaning, explained in _MEANINGS.items():
        if explained:
            yield f"* {meaning.value}: {explained}."
    yield ""
    yield _table(
        ["server", "what it is", "what to bear with it"],
        ([f"`{server.id}`", server.name, "; ".join(server.quirks)] for server in SERVERS),
    )


def _cell(server: servers.Server, scenario: servers.Scenario) -> str:
    return servers.outcome(server, scenario).value


def _client_section() -> Iterator[str]:
    yield _CLIENTS
    circumstances = list(Circumstance)
    for name, group in groupby(CLIENTS, key=lambda client: client.name):
        yield f"### {name}\n"
        yield _table(
            ["", *(circumstance.value for circumstance in circumstances)],
            ([client.usage, *("✓" if one in client.goes_through else "" for one in circumstances)] for client in group),
        )
        yield f"To bear with: {'; '.join(clients.QUIRKS[name])}.\n"


def _personality_section() -> Iterator[str]:
    yield _PERSONALITIES
    yield _table(
        ["", "what it does", "options"],
        (
            [kind.mimics or "a manner", _first_sentence(kind), f"`{' '.join(kind.options)}`" if kind.options else ""]
            for kind in PERSONALITIES
        ),
    ).rstrip()
    yield ""


def _first_sentence(kind: type[Personality]) -> str:
    return " ".join((kind.__doc__ or "").split()).rstrip(".")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(page())
