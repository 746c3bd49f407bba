"""What a listing answers is whole: large ones come page by page, and a cut that was not asked for
is an error."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp import LedgerError, Resonate
from resonate_amqp.core.model import EXTERNAL, Promise, Task, TaskState, Value
from resonate_amqp.core.requests import OriginGet, PromiseCreate, Query, Response
from resonate_amqp.resonate.pages import PAGE, pages
from resonate_amqp.wire.envelope import Reply
from tests.wire.messages import RESOLVED

MANY = 2 * PAGE + 1


def add_children(resonate: Resonate, root: str, count: int, data: str = "") -> list[str]:
    """Add promises below a root, in groups of a few; answers their ids."""
    resonate.promises.create(root)
    ids = [f"{root}:{number}" for number in range(1, count + 1)]
    creates = [
        PromiseCreate(id=one, timeout_at=2**50, param=Value({}, data), tags={EXTERNAL: "true"})
        for one in ids
    ]
    some = 4 if data else 500
    for first in range(0, count, some):
        resonate._joined().request(creates[first : first + some], root)
    return ids


def test_a_tree_is_answered_whole_however_large_it_is(resonate: Resonate) -> None:
    ids = add_children(resonate, "wide", MANY)
    found = [promise.id for promise, _ in resonate.tree("wide")]
    assert sorted(found) == sorted(["wide", *ids])
    assert [one.id for one, _ in resonate.tree("wide", limit=PAGE + 5)] == found[: PAGE + 5]
    assert resonate.tree("wide", limit=0) == []


def test_a_tree_that_no_message_holds_is_answered_whole(resonate: Resonate) -> None:
    ids = add_children(resonate, "fat", 12, "eA==" * 250_000)
    assert {promise.id for promise, _ in resonate.tree("fat")} == {"fat", *ids}


def test_every_search_is_whole_and_an_asked_for_limit_holds(resonate: Resonate) -> None:
    asking = resonate.options(target="nobody", tags={"color": "red"})
    ids = sorted(f"c{number}" for number in range(MANY))
    for call_id in ids:
        asking.rpc(call_id, "paint")
    assert sorted(one.id for one in resonate.promises.search("color", "red")) == ids
    pending = (TaskState.PENDING,)
    assert sorted(task.id for _, task in resonate.tasks.search(pending)) == ids
    assert len(resonate.promises.search("color", "red", limit=PAGE + 1)) == PAGE + 1
    assert len(resonate.tasks.search(pending, limit=PAGE + 1)) == PAGE + 1


def test_every_schedule_is_listed(resonate: Resonate) -> None:
    for number in range(PAGE + 2):
        resonate.options(target="nobody").schedule(f"s{number}", "0 3 * * *", "tidy")
    assert len(resonate.schedules.search()) == PAGE + 2
    assert [one.id for one in resonate.schedules.search(limit=2)] == ["s0", "s1"]


def earlier(query: Query) -> Reply:
    """The answer of a ledger that knows no pages, of a tree of exactly PAGE promises or more."""
    return Reply("g", (Response(status=200),), TREE[: query.limit])


TREE: list[tuple[Promise, Task | None]] = [(RESOLVED, None)] * MANY


@pytest.mark.parametrize("limit", [None, PAGE + 1])
def test_what_a_ledger_of_an_earlier_release_has_cut_is_an_error(limit: int | None) -> None:
    with pytest.raises(LedgerError, match=r"origin.get: .* the first 1000 .* upgrade it"):
        list(pages(earlier, OriginGet("r"), limit))


def test_what_a_ledger_of_an_earlier_release_has_not_cut_is_whole() -> None:
    [reply] = pages(earlier, OriginGet("r"), PAGE - 1)
    assert len(reply.tree or []) == PAGE - 1
    short = replace(earlier(OriginGet("r")), tree=TREE[:3])
    assert list(pages(lambda _: short, OriginGet("r"), None)) == [short]
