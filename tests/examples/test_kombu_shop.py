"""The Kombu shop: a few lines make it durable, and an order comes to one charge ever after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.shop_load.shops import KOMBU
from tests.examples.programs import EXAMPLES
from tests.examples.shops import DIFF, Open, changed_lines, retrofit

FEW_LINES = 30
SHOP = EXAMPLES / "kombu_shop"


@pytest.fixture
def shop(request: pytest.FixtureRequest, vhost_url: str, tmp_path: Path) -> Iterator[Open]:
    opened = Open(KOMBU, request.param, vhost_url, tmp_path)
    yield opened
    opened.stop()


def test_the_diff_beside_the_shop_is_what_the_retrofit_changes() -> None:
    """`python -m tests.examples.shops` writes it anew."""
    assert (SHOP / DIFF).read_text(encoding="utf-8") == retrofit("kombu")


def test_the_retrofit_is_a_few_lines_and_payments_none_of_them() -> None:
    diff = retrofit("kombu")

    assert len(changed_lines(diff)) <= FEW_LINES
    assert "payments.py" not in diff


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
        "mail": {1: ["mail-1"], 2: ["mail-2"]},
    }
    assert found.requests == {"charge": 2, "parcel": 2, "mail": 2}
