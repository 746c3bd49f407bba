"""The page about what Celery users report names each test of it, and no other."""

from __future__ import annotations

import ast

from tests.docs.markdown import ROOT, links, read, sections, table

PAGE = ROOT / "docs" / "explanation" / "what-it-solves.md"
TESTS = ROOT / "tests" / "docs" / "test_what_it_solves.py"
TITLE = "What it solves, and what not"
CLOSING = ["What it does not solve", "When to stay without"]


def rows() -> list[list[str]]:
    """Of the page's table: pain, stock Celery, with `@durable`, test."""
    return table(sections(PAGE)[TITLE])


def test_each_pain_has_a_row_and_a_section() -> None:
    pains = [row[0].partition("]")[0].removeprefix("[") for row in rows()]
    assert [TITLE, *pains, *CLOSING] == list(sections(PAGE))
    anchors = [link for link in links(PAGE) if link.startswith("#")]
    assert anchors == ["#" + pain.lower().replace(",", "").replace(" ", "-") for pain in pains]


def test_each_row_tells_both_sides_and_names_its_test() -> None:
    assert all(len(row) == 4 and all(row) for row in rows())
    functions = [node for node in ast.parse(read(TESTS)).body if isinstance(node, ast.FunctionDef)]
    tests = [one.name for one in functions if one.name.startswith("test_")]
    assert [row[3].strip("`") for row in rows()] == tests
    assert len(tests) >= 10
