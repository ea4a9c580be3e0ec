"""Who may import whom, read from the sources: also imports inside functions and for type checkers only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("engine", "preprocess")
    for path in sorted((ROOT / package).rglob("*.py"))
}

# A room may import from its own and from those further down; rooms on one line know nothing of each other.
LAYERS: list[set[str]] = [
    {"cli"},
    {"client", "blocking"},
    {"recordings", "bounds", "audience"},
    {"progress", "pipeline", "ending", "proving"},
    {"stages"},
    {"submitting", "uploading", "revising"},
    {"workers", "joining"},
    {"choosing", "encoding", "intake", "planning"},
    {"preparing", "runtime"},
    {"identity"},
    {"core", "wire"},
    {"model", "events", "faults", "redaction", "config"},
    {"timetable", "media_types", "version"},
    {"rates"},
    {"errors"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
SIDEWAYS = {
    ("blocking", "client"),  # the synchronous face of the client
    ("core", "faults"),
    ("config", "model"),  # a setting's bounds are the model's
    ("config", "redaction"),  # a key in the file is a secret from the moment it is read
    ("model", "redaction"),  # an upload's address is one
}
PURE = (
    "engine.core",
    "engine.wire",
    "engine.rates",
    "engine.timetable",
    "engine.model",
    "engine.events",
    "engine.faults",
    "engine.errors",
)
IMPURE = {
    *("os", "io", "pathlib", "shutil", "tempfile", "subprocess", "socket", "ssl", "select", "signal", "sqlite3"),
    *("time", "random", "secrets", "uuid", "threading", "asyncio", "anyio", "httpx", "logging", "urllib.request"),
    *("xxhash", "click", "tqdm", "cryptography", "platformdirs"),
}


def imports(module: str) -> Iterator[str]:
    """Absolute names of all that a module imports, wherever in its text."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base


def room(module: str) -> str:
    """The part of engine that a module belongs to; empty for its face."""
    return [*module.split("."), ""][1]


def importers(prefix: str) -> set[str]:
    """All modules of ours that import a package."""
    return {
        module for module in MODULES if any(name == prefix or name.startswith(f"{prefix}.") for name in imports(module))
    }


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) in LEVEL and name.startswith("engine.")])
def test_imports_go_one_way(module: str) -> None:
    """cli → client → pipeline → runtime → core and wire → model → errors, and never back."""
    here = room(module)
    for name in imports(module):
        there = room(name)
        if not name.startswith("engine.") or there == here:
            continue
        if there == "devserver":
            assert module == "engine.cli.serve", f"{module} imports {name}"
            continue
        down = LEVEL[there] > LEVEL[here] or (here, there) in SIDEWAYS
        assert down, f"{module} imports {name}"


def test_every_room_has_its_place() -> None:
    """A new module of engine has to be put into the order before it can be imported."""
    assert {room(name) for name in MODULES if name.startswith("engine.")} - {"devserver"} == set(LEVEL)


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) == "devserver"])
def test_the_service_knows_nothing_of_the_client(module: str) -> None:
    """A server that shares our parser shares our bug."""
    strangers = [name for name in imports(module) if name.split(".")[0] in {"engine", "preprocess"}]
    assert [name for name in strangers if room(name) != "devserver"] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("preprocess")])
def test_preparing_knows_nothing_of_uploading(module: str) -> None:
    """The package is useful alone."""
    assert [name for name in imports(module) if name.split(".")[0] == "engine"] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(PURE)])
def test_policy_and_protocol_touch_nothing(module: str) -> None:
    """No socket, file, clock or source of chance: time and randomness are arguments."""
    assert [name for name in imports(module) if name in IMPURE or name.split(".")[0] in IMPURE] == []


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("httpx", {"engine.runtime.line", "engine.runtime.direct"}),
        ("h11", {"engine.runtime.direct", "engine.runtime.http1"}),
        ("tqdm", {"engine.progress.bars"}),
        ("cryptography", {"engine.runtime.sealing"}),
    ],
)
def test_a_library_has_one_door(package: str, allowed: set[str]) -> None:
    """What may be exchanged one day is known to one module."""
    assert {module for module in importers(package) if room(module) != "devserver"} == allowed


def test_the_two_packages_meet_in_one_place() -> None:
    """Only preparing, and who a recording is, use preprocess; doctor asks it for its ffmpeg."""
    assert {name for name in importers("preprocess") if name.startswith("engine")} == {
        "engine.identity",
        "engine.preparing",
        "engine.cli.doctor",
    }


def test_only_the_client_and_the_command_reach_the_pipeline() -> None:
    """What a job does next is decided in one place, used from one."""
    assert importers("engine.pipeline") == {"engine.client"}


def test_every_import_is_ours_a_dependency_or_the_language() -> None:
    """Nothing is imported that the package does not ask for."""
    asked = {
        *("anyio", "av", "click", "cryptography", "ffmpeg", "httpx", "msgspec", "platformdirs"),
        *(
            "imageio_ffmpeg",
            "tqdm",
            "xxhash",
            "keyring",
            "h11",
            "pocketsphinx",
            "python_multipart",
            "starlette",
            "uvicorn",
        ),
        *("engine", "preprocess"),
    }
    used = {name.split(".")[0] for module in MODULES for name in imports(module)}
    assert used - asked <= sys.stdlib_module_names
