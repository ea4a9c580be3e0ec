"""docs/lessons.md tells what the tests show, and nothing else."""

from __future__ import annotations

import ast

import pytest

from tests.lessons.table import LESSONS, PAGE, ROOT, page

NAMED = sorted({test for lesson in LESSONS for test in lesson.tests})
MODULES = sorted((ROOT / "tests" / "lessons").glob("test_*.py"))


def defined_in(path: str) -> set[str]:
    """The names of a module's tests, those in classes too."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    functions = [node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {name for name in functions if name.startswith("test_")}


def test_the_page_is_current() -> None:
    """`python -m tests.lessons.table` would change nothing."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("module", sorted({test.partition("::")[0] for test in NAMED}))
def test_every_test_named_is_there(module: str) -> None:
    """A lesson whose test is gone is forgotten."""
    assert {name for there, _, name in (test.partition("::") for test in NAMED) if there == module} <= defined_in(
        module
    )


def test_no_lesson_is_left_out() -> None:
    """Every test in this folder, but for those of the page itself, is named on the page."""
    here = {f"lessons/{path.name}::{name}" for path in MODULES for name in defined_in(f"lessons/{path.name}")}
    assert {name for name in here if "test_table" not in name} - set(NAMED) == set()


def test_every_lesson_names_a_test_or_says_why_not() -> None:
    """No line of the page is a mere claim."""
    assert [lesson for lesson in LESSONS if not lesson.tests and not lesson.remark] == []
