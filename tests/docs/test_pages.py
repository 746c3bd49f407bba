"""Every page: its links lead somewhere, its blocks are of a known kind, its commands exist."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import click
import pytest

from resonate_amqp.cli.main import cli
from tests.docs.markdown import PAGES, ROOT, anchors, blocks, links, name

KINDS = {"", "diff", "js", "json", "python", "sh", "text"}
ELSEWHERE = {
    ".",
    "cd",
    "celery",
    "curl",
    "do",
    "done",
    "export",
    "for",
    "node",
    "npm",
    "pip",
    "python",
}

DJANGO_S = "manage.py"
"""A program that Django writes into each project."""
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
"""A variable of the environment, in front of a command."""

pages = pytest.mark.parametrize("page", PAGES, ids=name)


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        found = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
        left += [one for one in found if one.suffix == ".md" and one not in reached]
    assert set(PAGES) <= reached


@pages
def test_every_block_is_of_a_known_kind(page: Path) -> None:
    unknown = [(block.line, block.language) for block in blocks(page)]
    assert [one for one in unknown if one[1] not in KINDS] == []


@pages
def test_every_command_of_a_shell_block_exists(page: Path) -> None:
    wrong = []
    for block in blocks(page):
        if block.language != "sh":
            continue
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            problem = _problem(line)
            if problem:
                wrong.append(f"{name(page)}:{number}: {problem}")
    assert wrong == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert _problem("resonate-amqp ledger server") == "no command 'ledger server'"
    assert _problem("resonate-amqp call f --targets x") == "no option --targets of 'call'"
    assert _problem("make demos") == "no make target 'demos'"
    assert _problem("python examples/service_z.py") == "no file examples/service_z.py"
    assert _problem("rabbitmqctl status") == "'rabbitmqctl' is not known here"


def _problem(line: str) -> str:
    given = shlex.split(line, comments=True)
    words = list(itertools.dropwhile(_ASSIGNMENT.match, given))
    if not words:
        return ""
    if words[0] == "resonate-amqp":
        return _problem_of_ours(words[1:])
    if words[0] == "make":
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        missing = [word for word in words[1:] if f"\n{word}:" not in targets]
        return f"no make target {missing[0]!r}" if missing else ""
    if words[0] == "python" and len(words) > 1 and words[1].endswith(".py"):
        return "" if words[1] == DJANGO_S or (ROOT / words[1]).exists() else f"no file {words[1]}"
    return "" if words[0] in ELSEWHERE else f"{words[0]!r} is not known here"


def _problem_of_ours(words: list[str]) -> str:
    command: click.Command = cli
    context = click.Context(cli)
    path: list[str] = []
    while isinstance(command, click.Group) and words:
        path.append(words.pop(0))
        found = command.get_command(context, path[-1])
        if found is None:
            return f"no command {' '.join(path)!r}"
        command = found
    options = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if word.startswith("--") and word.partition("=")[0] not in options:
            return f"no option {word} of {' '.join(path)!r}"
    return ""
