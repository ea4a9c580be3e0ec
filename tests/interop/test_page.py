"""docs/interop.md tells what the tests run, and nothing else."""

from __future__ import annotations

from tests.interop.matrix import page
from tests.interop.programs import ROOT


def test_the_page_is_current() -> None:
    """`python -m tests.interop.matrix > docs/interop.md` would change nothing."""
    assert (ROOT / "docs" / "interop.md").read_text(encoding="utf-8") == page()
