"""Runs the blocks of a page in order, as one program."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.docs.markdown import Block, blocks


def run_page(page: Path) -> tuple[dict[str, Any], int]:
    """The names the page defines, and how many outputs it shows; each must be what it prints."""
    return run_blocks(page, blocks(page))


def run_blocks(page: Path, some: Sequence[Block]) -> tuple[dict[str, Any], int]:
    """As `run_page`, for some of its blocks."""
    names: dict[str, Any] = {"__name__": "page"}
    printed, shown = "", 0
    for block in some:
        if block.language == "python":
            assert printed == "", f"line {block.line}: the page does not show {printed!r}"
            out = io.StringIO()
            # A page's blocks have no `from __future__ import annotations`, as this file has.
            code = compile(block.text, f"{page.name}:{block.line}", "exec", dont_inherit=True)
            with contextlib.redirect_stdout(out):
                exec(code, names)
            printed = out.getvalue()
        elif block.language == "text":
            assert printed == block.text, f"line {block.line}"
            printed = ""
            shown += 1
    assert printed == "", f"the page does not show {printed!r}"
    return names, shown
