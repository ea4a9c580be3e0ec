"""The reference pages say what the code does."""

from __future__ import annotations

import inspect
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from engine import config, errors
from engine.model import Span
from engine.redaction import Secret
from engine.runtime import schema
from engine.wire import service, single, tus
from preprocess import MixName, Plan, Row, Track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.wire.message import Conversation, Request

ROOT = Path(__file__).parents[2]


def rows(page: str, heading: str) -> Iterator[tuple[str, ...]]:
    """The cells of the first table after a heading."""
    text = (ROOT / "docs" / page).read_text()
    section = text[text.index(heading) + len(heading) :]
    started = False
    for line in section.splitlines():
        if line.startswith("|"):
            started = True
            cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
            if not set(cells[0]) <= {"-"}:
                yield cells
        elif started:
            return


@pytest.mark.parametrize(("heading", "table"), [("## Environment", config.VARIABLES), ("## The file", config.SETTINGS)])
def test_every_setting_is_described_as_in_the_code(heading: str, table: dict[str, str]) -> None:
    """docs/config.md has exactly the settings of `engine.config`, in their words."""
    described = {name.strip("`"): meaning for name, meaning in list(rows("config.md", heading))[1:]}

    assert described == table


def test_every_variable_read_is_described() -> None:
    """No SPEECHSTREAM_ variable is read anywhere that `engine.config` does not name."""
    sources = [*ROOT.glob("engine/**/*.py"), *ROOT.glob("preprocess/**/*.py")]
    read = {name for source in sources for name in re.findall(r"SPEECHSTREAM_[A-Z_]*[A-Z]", source.read_text())}

    assert read == {name for name in config.VARIABLES if name.startswith("SPEECHSTREAM_")}


def test_every_error_is_described_with_its_exit_code() -> None:
    """docs/errors.md lists the whole tree, each with its exit code and the first line of its docstring."""

    def tree(cls: type[errors.SpeechStreamError]) -> Iterator[tuple[str, ...]]:
        yield f"`{cls.__name__}`", str(int(cls.exit_code)), (inspect.getdoc(cls) or "").splitlines()[0]
        for child in cls.__subclasses__():
            yield from tree(child)

    described = list(rows("errors.md", "# Errors"))[1:]

    assert described == list(tree(errors.SpeechStreamError))


def test_the_drawn_tree_of_errors_is_the_tree() -> None:
    """The drawing in `engine.errors` names every class once."""
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    defined = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]

    assert ["SpeechStreamError", *drawn] == defined


def test_every_column_of_the_manifest_is_described() -> None:
    """docs/manifest.md has exactly the tables and columns that the migrations make."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(database, "memory")
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    actual = {table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")] for table in tables}
    database.close()

    described = {
        table: [column.strip("`") for column, _ in list(rows("manifest.md", f"## `{table}`"))[1:]] for table in tables
    }

    assert described == actual
    assert f"Format {schema.VERSION}" in (ROOT / "docs" / "manifest.md").read_text()


@pytest.mark.parametrize(
    ("heading", "cls"),
    [("### The recording", Plan), ("### A track", Track), ("### A row", Row)],
    ids=str,
)
def test_every_field_of_a_plan_is_described(heading: str, cls: type[Plan | Track | Row]) -> None:
    """docs/plan.md has exactly the fields that `speechstream plan --json` answers with."""
    described = [name.strip("`") for name, _ in list(rows("plan.md", heading))[1:]]

    assert described == list(cls.__struct_fields__)


def test_every_mix_is_described() -> None:
    """docs/plan.md names every way in which channels are brought together."""
    described = [
        name.strip("` ") for names, *_ in list(rows("plan.md", "## Channels"))[1:] for name in names.split(",")
    ]

    assert sorted(described) == sorted(get_args(MixName))


ENDPOINT, CREATION, UPLOAD = "https://s.example/v1", "https://s.example/v1/uploads", "https://s.example/v1/uploads/u"
SUBMISSION = service.Submission(Secret(UPLOAD), 1, "f", 1, b"d", (b"p",), "k")
FIRST_REQUESTS: dict[str, Callable[[], Conversation[object]]] = {
    "tus.discover": lambda: tus.discover(CREATION),
    "tus.create": lambda: tus.create(
        CREATION, size_bytes=1, filename="f", media_type="m", partial=True, headers=(("Idempotency-Key", "k"),)
    ),
    "tus.join": lambda: tus.join(
        CREATION, (Secret(UPLOAD),), filename="f", media_type="m", headers=(("Idempotency-Key", "k"),)
    ),
    "tus.locate": lambda: tus.locate(Secret(UPLOAD)),
    "tus.locate_joined": lambda: tus.locate_joined(Secret(UPLOAD)),
    "tus.append": lambda: tus.append(
        Secret(UPLOAD), Span(0, 1), 0, declare_bytes=1, checksum=tus.Checksum("sha1", b"digest")
    ),
    "tus.terminate": lambda: tus.terminate(Secret(UPLOAD)),
    "single.post": lambda: single.post(
        ENDPOINT, Span(0, 1), filename="f", media_type="m", boundary="b", idempotency_key="k"
    ),
    "service.submit": lambda: service.submit(ENDPOINT, SUBMISSION),
    "service.status": lambda: service.status(ENDPOINT, "id"),
}


def spelled(request: Request) -> str:
    """A request's line as docs/wire.md writes it."""
    url = request.url.reveal() if isinstance(request.url, Secret) else request.url
    for full, short in ((UPLOAD, "U"), (CREATION, "C"), (ENDPOINT, "E")):
        url = url.replace(full, short)
    return f"{request.method} {url.replace('=id', '=…')}"


def test_every_request_is_described_as_it_is_sent() -> None:
    """docs/wire.md lists each conversation's request and exactly the headers that it may carry."""
    described = {
        name.strip("`"): (line.strip("`"), set(re.findall(r"`([\w-]+)`", headers)) - {"Upload-Defer-Length"})
        for name, line, headers, _ in list(rows("wire.md", "## Requests"))[1:]
    }

    said = {}
    for name, begin in FIRST_REQUESTS.items():
        conversation = begin()
        request = next(conversation)
        said[name] = (spelled(request), {header for header, _ in request.headers})
        conversation.close()
    assert described == said


def test_every_page_the_readme_names_is_there() -> None:
    """No link of README.md to a file of ours is dead."""
    linked = re.findall(r"\]\(((?:docs|fixtures)/[^)#]+|\w+\.md)\)", (ROOT / "README.md").read_text())

    assert linked
    assert [page for page in linked if not (ROOT / page).exists()] == []
