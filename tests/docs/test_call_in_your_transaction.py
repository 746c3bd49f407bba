"""The how-to about calls in a transaction: its blocks run, in order, and print what it says."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "call-in-your-transaction.md"


def test_the_page_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    printed, shown = "", 0
    for block in blocks(PAGE):
        if block.language == "python":
            assert printed == "", f"line {block.line}: the page does not show {printed!r}"
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block.text, f"{PAGE.name}:{block.line}", "exec"), names)
            printed = out.getvalue()
        elif block.language == "text":
            assert printed == block.text, f"line {block.line}"
            printed = ""
            shown += 1
    assert shown == 2
    names["engine"].dispose()
    with contextlib.closing(sqlite3.connect("shop.db")) as shop:
        columns = [row[1] for row in shop.execute("PRAGMA table_info(resonate_calls)")]
    assert columns == ["serial", "id", "request", "created_at", "refused"]
