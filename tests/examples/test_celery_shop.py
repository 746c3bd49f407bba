"""The Celery shop: a few lines make it durable, and an order comes to one charge ever after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.shop_load.shops import CELERY
from tests.examples.programs import EXAMPLES
from tests.examples.shops import DIFF, Open, changed_lines, retrofit

FEW_LINES = 15
SHOP = EXAMPLES / "celery_shop"


@pytest.fixture
def shop(request: pytest.FixtureRequest, vhost_url: str, tmp_path: Path) -> Iterator[Open]:
    opened = Open(CELERY, request.param, vhost_url, tmp_path)
    yield opened
    codes = opened.stop()
    workers = ("orders-1", "payments", "warehouse", "mail")
    assert {name: codes[name] for name in workers} == dict.fromkeys(workers, 0)


def test_the_diff_beside_the_shop_is_what_the_retrofit_changes() -> None:
    """`python -m tests.examples.shops` writes it anew."""
    assert (SHOP / DIFF).read_text(encoding="utf-8") == retrofit("celery")


def test_the_retrofit_is_a_few_lines_and_touches_neither_charge_nor_send_mail() -> None:
    diff = retrofit("celery")

    assert len(changed_lines(diff)) <= FEW_LINES
    assert not any(" charge(" in line or "send_mail(" in line for line in changed_lines(diff))


@pytest.mark.rabbitmq
@pytest.mark.processes
@pytest.mark.parametrize("shop", ["before"], indirect=True)
def test_before_an_order_that_came_twice_was_charged_twice(shop: Open) -> None:
    for number in (1, 2, 2):
        shop.place(number)

    charges = shop.charged(3).keys["charge"]
    assert {order: len(keys) for order, keys in charges.items()} == {1: 1, 2: 2}


@pytest.mark.rabbitmq
@pytest.mark.processes
@pytest.mark.parametrize("shop", ["after"], indirect=True)
def test_after_an_order_that_came_twice_is_charged_packed_and_mailed_once(shop: Open) -> None:
    for number in (1, 2, 2):
        shop.place(number)

    found = shop.settled({1, 2})
    assert found.keys == {
        "charge": {1: ["order-1:1"], 2: ["order-2:1"]},
        "parcel": {1: ["order-1:2"], 2: ["order-2:2"]},
        "mail": {1: ["order-1:3"], 2: ["order-2:3"]},
    }
    assert found.requests == {"charge": 2, "parcel": 2, "mail": 2}
