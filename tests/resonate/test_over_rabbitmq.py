"""The face over a real broker and a ledger service, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Context, Resonate
from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from tests.wire.kinds import Line

WAIT_S = 20


@pytest.fixture
def url(vhost_url: str, tmp_path: Path) -> Iterator[str]:
    """A broker with a ledger service behind it."""
    ledger = start_ledger(read({"url": vhost_url, "ledger": f"sqlite:///{tmp_path / 'l.db'}"}))
    yield vhost_url
    ledger.stop()


@pytest.mark.smoke
def test_a_chain_of_services_answers_over_rabbitmq(url: str) -> None:
    with (
        Resonate(url, group="service-a", grace=1) as a,
        Resonate(url, group="service-b", grace=1) as b,
        Resonate(url, group="service-c", grace=1) as c,
    ):

        @a.register
        def foo(ctx: Context) -> Generator[Any, Any, Any]:
            return (yield ctx.rfc("bar").options(target="poll://any@service-b")) + 1

        @b.register
        def bar(ctx: Context) -> Generator[Any, Any, Any]:
            return (yield ctx.rfc("baz").options(target="poll://service-c")) + 1

        @c.register
        def baz(_ctx: Context) -> int:
            return 1

        gateway = Resonate(url, group="gateway")
        handle = gateway.options(target="poll://any@service-a").rpc("await-chain", "foo")
        assert handle.result(WAIT_S) == 3
        assert [promise.id for promise, _ in gateway.tree("await-chain")] == [
            "await-chain",
            "await-chain:1",
            "await-chain:1.1",
        ]
        gateway.stop()


def test_a_typed_call_is_awaited_from_a_running_loop(url: str) -> None:
    def double(_ctx: Context, line: Line) -> Line:
        return Line(line.sku, line.price * 2, line.tags)

    async def call(gateway: Resonate) -> list[Line]:
        away = gateway.options(target="poll://any@shop")
        lines = [Line(str(n), Decimal(n), frozenset({"a", "b"})) for n in range(10)]
        handles = [await away.arpc(f"double-{line.sku}", double, line) for line in lines]
        return [await handle for handle in handles]

    with Resonate(url, group="shop", grace=1) as shop:
        shop.register(double)
        gateway = Resonate(url, group="gateway")
        doubled = asyncio.run(asyncio.wait_for(call(gateway), WAIT_S))
        gateway.stop()
    assert [line.price for line in doubled] == [Decimal(2 * n) for n in range(10)]
    assert {line.tags for line in doubled} == {frozenset({"a", "b"})}


def test_a_unicast_call_reaches_the_one_process_it_names(url: str) -> None:
    ran: list[str] = []

    def serve(pid: str) -> Resonate:
        resonate = Resonate(url, group="twins", pid=pid, grace=1)
        resonate.register(lambda _ctx: ran.append(pid), name="who")
        resonate.start()
        return resonate

    twins = [serve("one"), serve("two")]
    for number in range(4):
        call = twins[0].options(target="poll://uni@twins/two").rpc(f"call-{number}", "who")
        call.result(WAIT_S)
    for twin in twins:
        twin.stop()
    assert ran == ["two"] * 4


def test_several_urls_are_tried_in_turn(url: str) -> None:
    resonate = Resonate(f"amqp://guest:guest@127.0.0.1:1/;{url}", group="g", grace=1)
    resonate.register(lambda _ctx: 1, name="one")
    resonate.start()
    assert resonate.rpc("id", "one").result(WAIT_S) == 1
    resonate.stop()
