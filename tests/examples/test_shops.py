"""The shops: a few lines make each durable, and an order comes to one charge ever after."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.shop_load.shops import SHOPS
from tests.examples.programs import EXAMPLES, Programs, wait_until
from tests.examples.shops import DIFF, Open, changed_lines, retrofit

FEW_LINES = {"kombu": 30, "celery": 15, "django": 25}
UNCHANGED = {
    "kombu": ("payments.py", " charge(", "send_mail("),
    "celery": (" charge(", "send_mail("),
    "django": ("payments.py", "models.py", "settings.py", "tests.py", "views.py", "0001"),
}
"""By shop, what its diff does not speak of."""
CELERY_WORKERS = {
    "kombu": (),
    "celery": ("orders-1", "payments", "warehouse", "mail"),
    "django": ("orders-1",),
}
MAIL = {
    "kombu": {1: ["mail-1"], 2: ["mail-2"]},
    "celery": {1: ["order-1:3"], 2: ["order-2:3"]},
    "django": {1: ["order-1:3"], 2: ["order-2:3"]},
}


@pytest.fixture(params=SHOPS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, name: str, vhost_url: str, tmp_path: Path
) -> Iterator[Open]:
    opened = Open(SHOPS[name], request.param, vhost_url, tmp_path)
    try:
        yield opened
        if "web" in opened.shop.services:
            wait_until("nobody has the shop's database open", lambda: not opened.open_databases())
    finally:
        codes = opened.stop()
    assert {one: codes[one] for one in CELERY_WORKERS[name]} == dict.fromkeys(
        CELERY_WORKERS[name], 0
    )


def test_the_diff_beside_the_shop_is_what_the_retrofit_changes(name: str) -> None:
    """`python -m tests.examples.shops` writes it anew."""
    kept = EXAMPLES / f"{name}_shop" / DIFF
    assert kept.read_text(encoding="utf-8") == retrofit(name)


def test_the_retrofit_is_a_few_lines_and_payments_none_of_them(name: str) -> None:
    diff = retrofit(name)

    assert len(changed_lines(diff)) <= FEW_LINES[name]
    assert [one for one in UNCHANGED[name] if one in diff] == []


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
    charges = {1: ["order-1:1"], 2: ["order-2:1"]}
    assert found.keys.pop("receipt", charges) == charges
    assert found.keys == {
        "charge": charges,
        "parcel": {1: ["order-1:2"], 2: ["order-2:2"]},
        "mail": MAIL[name],
    }
    assert found.requests == dict.fromkeys(found.requests, 2)


@pytest.mark.parametrize("version", ["before", "after"])
def test_the_tests_of_the_django_project_pass_in_the_transaction_of_each(
    version: str, tmp_path: Path
) -> None:
    environment = Programs(tmp_path, SHOP_DB=str(tmp_path / "shop.db")).environment
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "test"],
        cwd=EXAMPLES / "django_shop" / version,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
