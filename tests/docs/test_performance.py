"""The page on performance says what was measured."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.performance import PAGE, PLOTS, RESULTS, pages

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("path", "content"), pages().items())
def test_the_page_and_its_plots_are_made_of_the_results(path: str, content: str) -> None:
    """`python -m bench.performance` would change nothing."""
    assert (ROOT / path).read_text() == content


def test_every_result_is_on_the_page() -> None:
    """Each file that a bench left has a plot that the page shows, and no other plot lies about."""
    shown = set(re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / PAGE).read_text()))

    assert shown == {f"performance/{file.stem}.svg" for file in RESULTS.glob("*.json")}
    assert shown == {f"performance/{file.name}" for file in (ROOT / PLOTS).iterdir()}


@pytest.mark.parametrize("path", sorted((ROOT / PLOTS).glob("*.svg")), ids=lambda path: path.stem)
def test_a_plot_is_xml_that_asks_for_nothing_from_elsewhere(path: Path) -> None:
    """It has a title for those who cannot see it, colours for dark pages, and no links."""
    drawn = ET.fromstring(path.read_text())

    assert (drawn.findtext("{http://www.w3.org/2000/svg}title") or "").strip()
    assert "prefers-color-scheme: dark" in path.read_text()
    assert "href" not in path.read_text()
