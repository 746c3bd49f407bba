"""The shops: a few lines make each durable, and an order comes to one charge ever after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.shop_load.shops import CELERY, KOMBU
from tests.examples.programs import EXAMPLES
from tests.examples.shops import DIFF, Open, changed_lines, retrofit

FEW_LINES = {"kombu": 30, "celery": 15}
SHOPS = {"kombu": KOMBU, "celery": CELERY}
CELERY_WORKERS = ("orders-1", "payments", "warehouse", "mail")
MAIL = {
    "kombu": {1: ["mail-1"], 2: ["mail-2"]},
    "celery": {1: ["order-1:3"], 2: ["order-2:3"]},
}


@pytest.fixture(params=SHOPS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, name: str, vhost_url: str, tmp_path: Path
) -> Iterator[Open]:
    opened = Open(SHOPS[name], request.param, vhost_url, tmp_path)
    yield opened
    codes = opened.stop()
    if name == "celery":
        assert {one: codes[one] for one in CELERY_WORKERS} == dict.fromkeys(CELERY_WORKERS, 0)


def test_the_diff_beside_the_shop_is_what_the_retrofit_changes(name: str) -> None:
    """`python -m tests.examples.shops` writes it anew."""
    kept = EXAMPLES / f"{name}_shop" / DIFF
    assert kept.read_text(encoding="utf-8") == retrofit(name)


def test_the_retrofit_is_a_few_lines_and_payments_none_of_them(name: str) -> None:
    lines = changed_lines(retrofit(name))

    assert len(lines) <= FEW_LINES[name]
    assert "payments.py" not in retrofit(name)
    assert not any(" charge(" in line or "send_mail(" in line for line in lines)


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
def test_after_an_order_that_came_twice_is_charged_packed_and_mailed_once(
    shop: Open, name: str
) -> None:
    for number in (1, 2, 2):
        shop.place(number)

    found = shop.settled({1, 2})
    assert found.keys == {
        "charge": {1: ["order-1:1"], 2: ["order-2:1"]},
        "parcel": {1: ["order-1:2"], 2: ["order-2:2"]},
        "mail": MAIL[name],
    }
    assert found.requests == {"charge": 2, "parcel": 2, "mail": 2}
