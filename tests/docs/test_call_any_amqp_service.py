"""The how-to about other AMQP services: its programs run, and print what the page says."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from tests.docs.markdown import ROOT, blocks

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

PAGE = ROOT / "docs" / "how-to" / "call-any-amqp-service.md"
EXAMPLE = ROOT / "examples" / "node_rpc"
WAIT_S = 60


def shown(heading: str, language: str, title: str = "") -> list[str]:
    """The blocks of a language under a heading."""
    return [
        block.text
        for block in blocks(PAGE)
        if (block.heading, block.language, block.title) == (heading, language, title)
    ]


class Site:
    """A broker with a ledger, and programs that are started beside it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self._environment = os.environ | {"RESONATE_AMQP_URL": url, "PYTHONPATH": str(ROOT)}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        self._started.append(subprocess.Popen(command, cwd=self.folder, env=self._environment))

    def run(self, command: str) -> str:
        """What a command line prints; it must succeed."""
        done = subprocess.run(
            command.split(),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        return done.stdout

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def site(vhost_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("RESONATE_AMQP_URL", vhost_url)
    folder = tmp_path / "programs"
    shutil.copytree(EXAMPLE, folder)
    ledger = start_ledger(read({"url": vhost_url, "ledger": f"sqlite:///{tmp_path / 'l.db'}"}))
    made = Site(vhost_url, folder)
    yield made
    made.end()
    ledger.stop()


def run(names: dict[str, Any], code: str) -> str:
    """What a block of Python prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, PAGE.name, "exec", dont_inherit=True), names)
    return out.getvalue()


@pytest.mark.parametrize("name", ["server.js", "client.js", "shop.py"])
def test_the_page_shows_the_programs_of_the_example(name: str) -> None:
    [text] = [block.text for block in blocks(PAGE) if block.title == name]
    assert text == (EXAMPLE / name).read_text(encoding="utf-8")


@pytest.mark.timeout(240)
def test_the_programs_print_what_the_page_says(
    site: Site, nodejs: str, amqplib: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.folder / "node_modules").symlink_to(amqplib)
    site.start(nodejs, "server.js")
    names: dict[str, Any] = {"__name__": "page"}
    try:
        for heading in ("An RPC server", "A Celery task"):
            for text in shown(heading, "python", "tasks.py"):
                (site.folder / "tasks.py").write_text(text, encoding="utf-8")
                [worker] = shown(heading, "sh")
                site.start(sys.executable, "-m", *worker.split(), "--pool=solo")
            [code], [expected] = shown(heading, "python"), shown(heading, "text")
            assert run(names, code) == expected
    finally:
        names["resonate"].stop()
    site.start(sys.executable, "shop.py")
    [commands], [expected] = shown("A client", "sh"), shown("A client", "text")
    assert "".join(site.run(line) for line in commands.splitlines()) == expected
