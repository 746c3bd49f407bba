"""The how-to pages about functions: their blocks run, in order, and print what the pages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.markdown import ROOT
from tests.docs.running import run_page

PAGES = {
    "async-workflows": 7,
    "change-a-running-function": 2,
    "human-in-the-loop": 3,
    "sagas": 4,
    "schedules": 4,
}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_prints_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names, shown = run_page(ROOT / "docs" / "how-to" / f"{page}.md")
    assert shown == PAGES[page]
    if "resonate" in names:
        names["resonate"].stop()
