"""How-to "test your functions": its tests pass, and fail as it says when the code is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks
from tests.testing.suites import run

PAGE = ROOT / "docs" / "how-to" / "test-your-functions.md"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The page's files; a title that comes again goes on."""
    for block in blocks(PAGE):
        if block.language == "python":
            with (tmp_path / block.title).open("a", encoding="utf-8") as file:
                file.write(block.text)
    return tmp_path


def _outputs() -> list[str]:
    return [block.text.strip() for block in blocks(PAGE) if block.language == "text"]


def _change(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def test_the_page_s_tests_pass(suite: Path) -> None:
    code, told = run(suite)
    assert code == 0, told
    assert "5 passed" in told


def test_they_fail_as_the_page_says_when_the_code_is_wrong(suite: Path) -> None:
    assert run(suite)[0] == 0
    _change(suite / "shop.py", "[ctx.id] = amount", "[object()] = amount")
    _change(
        suite / "shop.py",
        "    yield ctx.lfc(charge",
        "    yield ctx.lfc(check_stock)\n    yield ctx.lfc(charge",
    )
    _change(
        suite / "shop.py", "def charge", "def check_stock(ctx):\n    return True\n\n\ndef charge"
    )
    (suite / "order-1.json").rename(suite / "kept.json")
    _change(suite / "test_upgrade.py", "order-1.json", "kept.json")
    code, told = run(suite)
    assert code == 1, told
    double_charge, other_call = _outputs()
    assert double_charge in told
    assert other_call in told
