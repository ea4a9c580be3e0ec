"""docs/security.md: each line of the threat model names tests that are there, and no attack test is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
# Modules whose every test is an attack, or the answer to one.
ATTACKS = (
    "tests/devserver/test_attacks.py",
    "tests/devserver/test_bombs.py",
    "tests/devserver/test_connections.py",
    "tests/devserver/test_creation.py",
    "tests/devserver/test_fuzz.py",
    "tests/devserver/test_many_uploads.py",
    "tests/devserver/test_strangers.py",
    "tests/devserver/test_tus_model.py",
    "tests/faults/test_hostile_server.py",
    "tests/faults/test_secrets.py",
    "tests/faults/test_tls.py",
)


def defined_in(module: str) -> set[str]:
    """The names of a module's tests."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {function.name for function in functions if function.name.startswith("test_")}


@pytest.mark.parametrize("module", sorted({module for module, _ in NAMED}))
def test_every_test_named_is_there(module: str) -> None:
    """A threat whose test is gone is no longer answered."""
    assert {name for there, name in NAMED if there == module} - defined_in(module) == set()


@pytest.mark.parametrize("module", ATTACKS)
def test_no_attack_is_left_out(module: str) -> None:
    """A test that attacks without a line in the model defends something nobody decided on."""
    assert defined_in(module) - {name for there, name in NAMED if there == module} == set()


def test_every_threat_names_a_test() -> None:
    """No line of a table of threats is a mere claim."""
    tables = PAGE.split("| threat | what happens | tests |")[1:]
    lines = [line for table in tables for line in table.split("\n\n")[0].splitlines() if line.startswith("| ")]
    assert len(lines) > 40
    assert [line for line in lines if "::test_" not in line] == []
