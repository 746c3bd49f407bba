"""The page about the command line has every command, option and exit code."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from resonate_amqp.cli import output
from resonate_amqp.cli.main import cli
from tests.docs.markdown import ROOT, sections, table

PAGE = ROOT / "docs" / "reference" / "cli.md"


def _commands(
    command: click.Command = cli, path: tuple[str, ...] = ("resonate-amqp",)
) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _commands(found, (*path, name))


commands = pytest.mark.parametrize(("path", "command"), list(_commands()))


def test_every_command_has_a_section_and_every_section_is_a_command() -> None:
    documented = {heading for heading in sections(PAGE) if heading.startswith("resonate-amqp")}
    assert documented == {path for path, _ in _commands()}


@commands
def test_a_section_names_exactly_the_options_of_its_command(
    path: str, command: click.Command
) -> None:
    section = sections(PAGE)[path]
    listed = [line for line in section.splitlines() if line.startswith("* ")]
    named = {
        word.strip("`,:.;").partition(" ")[0]
        for line in listed
        for word in line.split("`")
        if word.startswith("--")
    }
    options = {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    assert named == options


@commands
def test_every_command_and_option_says_what_it_does(path: str, command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts[0]}"


def test_the_exit_codes_are_those_of_the_program() -> None:
    rows = table(sections(PAGE)["Command line"])
    assert [int(row[0]) for row in rows] == [
        output.OK,
        output.FAILED,
        output.USAGE,
        output.REJECTED,
        output.TIMEOUT,
        output.UNREACHABLE,
        130,
    ]


@pytest.mark.parametrize(
    ("option", "default"), [("--timeout", 60), ("--request-timeout", 10)], ids=str
)
def test_the_defaults_on_the_page_are_those_of_the_program(option: str, default: float) -> None:
    call = dict(_commands())["resonate-amqp call"]
    (found,) = [one.default for one in call.params if option in one.opts]
    assert found == default
    text = PAGE.read_text(encoding="utf-8")
    (line,) = [one for one in text.splitlines() if one.startswith(f"* `{option} SECONDS`")]
    assert f"({default})" in line
