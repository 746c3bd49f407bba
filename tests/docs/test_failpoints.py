"""The page about failpoints has every place and every fate, and nothing else."""

from __future__ import annotations

from resonate_amqp.ports import Failpoint
from resonate_amqp.resonate.failpoints import Fate
from tests.docs.markdown import ROOT, sections, table

PAGE = ROOT / "docs" / "reference" / "failpoints.md"


def test_the_table_lists_every_place_in_the_order_of_the_program() -> None:
    rows = table(sections(PAGE)["Places"])
    assert [row[0].strip("`") for row in rows] == list(Failpoint)
    assert {row[1] for row in rows} == {"ledger", "worker"}
    assert all(all(row) and len(row) == 4 for row in rows)


def test_the_table_lists_every_fate() -> None:
    assert [row[0].strip("`") for row in table(sections(PAGE)["Failpoints"])] == list(Fate)
