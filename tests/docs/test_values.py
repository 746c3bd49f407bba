"""The reference of values and types: every block runs and prints what the page says."""

from __future__ import annotations

from tests.docs.markdown import ROOT
from tests.docs.running import run_page

PAGE = ROOT / "docs" / "reference" / "values.md"


def test_the_page_prints_what_it_says() -> None:
    assert run_page(PAGE)[1] == 9
