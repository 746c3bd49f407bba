"""The reference of calls: its table names every option, and its blocks print what they show."""

from __future__ import annotations

from dataclasses import fields
from inspect import signature

from resonate_amqp import Resonate
from resonate_amqp.resonate.call import CallOptions
from tests.docs.markdown import ROOT, sections, table
from tests.docs.running import run_page

PAGE = ROOT / "docs" / "reference" / "calls.md"


def test_the_table_names_every_option() -> None:
    rows = table(sections(PAGE)["Calls and their options"])
    named = [row[0].strip("`") for row in rows]
    assert named == [one.name for one in fields(CallOptions)]
    assert named == list(signature(Resonate.options).parameters)[1:]


def test_the_page_prints_what_it_says() -> None:
    assert run_page(PAGE)[1] == 2
