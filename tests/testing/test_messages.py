"""Messages that come twice or not at all."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest

from resonate_amqp import Resonate, UsageError
from resonate_amqp.testing import System
from resonate_amqp.testing.mail import Kind
from tests.testing.flows import DAYS, Shop


@pytest.fixture
def shop(resonate_system: System) -> Shop:
    return Shop(resonate_system.resonate("orders"), resonate_system.resonate("carriers"))


@pytest.mark.parametrize("kind", [None, *get_args(Kind)])
def test_what_is_delivered_twice_runs_once(
    shop: Shop, resonate_system: System, kind: Kind | None
) -> None:
    resonate_system.deliver_twice(kind)
    handle = shop.call("order", "order", "book")
    resonate_system.advance(DAYS)
    assert handle.result() == ["paid book", "shipped book"]
    assert shop.ran == {"order:1": 1, "order:3": 1}


@pytest.mark.parametrize("kind", ["request", "reply"])
def test_what_is_lost_is_repeated_as_time_passes(
    shop: Shop, resonate_system: System, kind: Kind
) -> None:
    begun = shop.call("other", "order", "book")
    resonate_system.drop(kind, times=3)
    handle = shop.call("order", "order", "book")
    resonate_system.drop(kind, times=3)
    resonate_system.advance(DAYS)
    resonate_system.advance(300)
    assert handle.result() == begun.result() == ["paid book", "shipped book"]
    assert shop.ran["order:1"] == shop.ran["other:1"] == 1


def test_an_execute_that_was_lost_is_offered_again_after_five_minutes(
    resonate: Resonate, resonate_system: System
) -> None:
    shop = Shop(resonate)
    resonate_system.drop("execute", times=1)
    lost = shop.call("lost", "order", "book")
    found = shop.call("found", "order", "book")
    resonate_system.advance(1)
    assert shop.ran == {"found:1": 1}
    resonate_system.advance(timedelta(minutes=6))
    assert shop.ran == {"found:1": 1, "lost:1": 1}
    resonate_system.advance(DAYS)
    assert found.done()
    assert lost.done()


def test_a_kind_that_does_not_exist_is_refused(resonate_system: System) -> None:
    with pytest.raises(UsageError, match="request, execute, reply"):
        resonate_system.drop("letter")  # type: ignore[arg-type] # the point of this test
