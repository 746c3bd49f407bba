"""The how-to about Celery: its programs run, and print what the page says."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from tests.docs.markdown import ROOT, blocks
from tests.docs.running import run_blocks
from tests.examples.programs import Programs, wait_until

PAGE = ROOT / "docs" / "how-to" / "retrofit-celery.md"


@pytest.fixture
def programs(vhost_url: str, tmp_path: Path) -> Iterator[Programs]:
    """The page's programs in a folder, beside a broker and a ledger."""
    for block in blocks(PAGE):
        if block.title and block.language == "python":
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    ledger = start_ledger(read({"url": vhost_url, "ledger": f"sqlite:///{tmp_path / 'l.db'}"}))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = Programs(tmp_path, BROKER_URL=vhost_url, PATH=path, PYTHONPATH=str(ROOT))
    yield made
    made.stop()
    ledger.stop()


def commands() -> list[list[str]]:
    lines = [block.text.splitlines() for block in blocks(PAGE) if block.language == "sh"]
    return [shlex.split(line) for block in lines for line in block]


def ready(programs: Programs, name: str) -> bool:
    return " ready." in programs.log(name)


@pytest.mark.rabbitmq
@pytest.mark.processes
def test_the_page_s_shop_runs_as_it_says(programs: Programs) -> None:
    workers = [command for command in commands() if "worker" in command]
    for number, command in enumerate(workers):
        name = f"worker-{number}"
        programs.start(name, *command, cwd=programs.folder)
    for number in range(len(workers)):
        wait_until(f"worker {number} is ready", partial(ready, programs, f"worker-{number}"))
    (order,) = (command for command in commands() if command[0] == "python")
    assert programs.start("order", *order, cwd=programs.folder).wait(60) == 0
    (said,) = (block.text for block in blocks(PAGE) if block.title == "order")
    assert programs.out("order") == said
    asked = [command for command in commands() if "resonate" in command]
    for number, command in enumerate(asked):
        name = f"asked-{number}"
        assert programs.start(name, *command, cwd=programs.folder).wait(60) == 0
        assert "order-7" in programs.out(name)


def test_the_page_s_other_blocks_print_what_it_shows() -> None:
    _, shown = run_blocks(PAGE, [block for block in blocks(PAGE) if not block.title])
    assert shown == 1
