"""The page about settings lists every setting, with its variable, default and unit."""

from __future__ import annotations

import dataclasses

import pytest

from resonate_amqp.errors import UsageError
from resonate_amqp.settings import PREFIX, Settings, read
from tests.docs.markdown import ROOT, sections, table

PAGE = ROOT / "docs" / "reference" / "settings.md"
UNITS = {"", "seconds", "tasks", "threads", "losses"}
SECONDS = {
    "park_after",
    "hold_max",
    "grace",
    "timeout",
    "request_timeout",
    "lease",
    "refresh",
    "backstop",
    "heartbeat",
}


def test_the_table_lists_every_setting_with_its_variable_and_default() -> None:
    defaults = {"url": "none", "ledger": "none", "pid": "random"}
    expected = [
        [
            f"`{field.name}`",
            f"`{PREFIX}{field.name.upper()}`",
            defaults.get(field.name, f"`{field.default}`"),
        ]
        for field in dataclasses.fields(Settings)
    ]
    assert [row[:3] for row in table(sections(PAGE)["Settings"])] == expected


def test_durations_are_in_seconds() -> None:
    units = {row[0].strip("`"): row[3] for row in table(sections(PAGE)["Settings"])}
    assert set(units.values()) <= UNITS
    assert {name for name, unit in units.items() if unit == "seconds"} == SECONDS


def test_a_setting_that_nothing_reads_is_called_reserved() -> None:
    package = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "resonate_amqp").rglob("*.py")
        if path.name != "settings.py"
    )
    unused = {
        field.name
        for field in dataclasses.fields(Settings)
        if f"settings.{field.name}" not in package
    }
    reserved = {
        row[0].strip("`")
        for row in table(sections(PAGE)["Settings"])
        if row[4].startswith("reserved")
    }
    assert reserved == unused


def test_an_argument_counts_before_the_environment_and_that_before_the_default() -> None:
    environ = {PREFIX + "GROUP": "from-environment", PREFIX + "GRACE": "2"}

    assert read({"group": "given"}, environ).group == "given"
    assert read({}, environ).group == "from-environment"
    assert read({}, environ).grace == 2.0
    assert read({}, {}).group == "default"


def test_a_url_may_be_named_by_a_variable_which_must_be_there() -> None:
    assert read({"url": "env:WHERE"}, {"WHERE": "amqp://here"}).url == "amqp://here"
    with pytest.raises(UsageError, match="env:WHERE: the environment variable is not set"):
        read({"url": "env:WHERE"}, {})
