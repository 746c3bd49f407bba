"""The README: its program survives kill -9, and its text says what holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks, read
from tests.examples.programs import WAIT_S, Programs, wait_until

README = ROOT / "README.md"
LONGEST_PROGRAM = 35


@pytest.mark.processes
def test_the_program_goes_on_after_kill_9_without_charging_again(tmp_path: Path) -> None:
    (program,) = [block for block in blocks(README) if block.language == "python"]
    assert len(program.text.splitlines()) <= LONGEST_PROGRAM
    (tmp_path / "order.py").write_text(program.text, encoding="utf-8")
    programs = Programs(tmp_path)

    def start(name: str) -> None:
        programs.start(name, sys.executable, "order.py", cwd=tmp_path)

    start("first")
    wait_until("the charge is recorded", lambda: "kill me now" in programs.out("first"))
    programs.kill("first")
    start("second")
    wait_until("the order is done", lambda: programs.out("second").endswith("]\n"))
    start("third")
    wait_until("the result is there at once", lambda: programs.out("third"), WAIT_S)

    assert programs.out("first") == (
        "charging for a book, idempotency key order-1:1\npaid and recorded; kill me now\n"
    )
    assert programs.out("second") == (
        "paid and recorded; kill me now\nshipping a book\n['paid', 'shipped']\n"
    )
    assert programs.out("third") == "['paid', 'shipped']\n"
    programs.stop()


def test_the_promise_is_the_same_wherever_it_is_made() -> None:
    for page in (README, ROOT / "docs" / "explanation" / "delivery-guarantees.md"):
        text = " ".join(read(page).lower().replace("*", "").split())
        assert "recorded" in text
        assert "never runs again" in text
        assert "the effects of a step that was cut off may happen twice" in text
        assert "idempotency key" in text
