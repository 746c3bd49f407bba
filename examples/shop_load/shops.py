"""The two shops: which processes each consists of, and how an order is placed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from examples.celery_shop import place_order as celery_site
from examples.kombu_shop import place_order as kombu_site
from examples.kombu_shop.wires import connect
from examples.shop_load.processes import Program

EXAMPLES = Path(__file__).resolve().parent.parent
ROOT = EXAMPLES.parent
SERVICES = ("orders", "payments", "warehouse", "mail")

Place = Callable[[int], None]
"""Places the order of that number; when it returns, the broker has confirmed it."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop: its services, and how many processes take orders."""

    name: str
    program: Callable[[str, str], Program]
    site: Callable[[str], Place]

    def programs(self, version: str, takers: int) -> list[Program]:
        """The services, `before` or `after` they became durable."""
        names = [f"orders-{number}" for number in range(1, takers + 1)] + list(SERVICES[1:])
        return [self.program(version, name) for name in names]


def _kombu_program(version: str, name: str) -> Program:
    module = f"examples.kombu_shop.{version}.{name.split('-')[0]}"
    return Program(name, [sys.executable, "-m", module], ROOT)


def _celery_program(version: str, name: str) -> Program:
    command = [
        *(sys.executable, "-m", "celery", "-A", "shop", "worker", "-Q", name.split("-")[0]),
        *("--hostname", f"{name}@%h", "--concurrency", "2", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    return Program(name, command, EXAMPLES / "celery_shop" / version, children=True)


def _kombu_site(url: str) -> Place:
    connection = connect(url)
    return lambda number: kombu_site.place(connection, number, "a book", 10 + number % 40)


def _celery_site(url: str) -> Place:
    site = celery_site.connect(url)
    return lambda number: celery_site.place(site, number, 10 + number % 40)


KOMBU = Shop("kombu", _kombu_program, _kombu_site)
CELERY = Shop("celery", _celery_program, _celery_site)
SHOPS = {shop.name: shop for shop in (KOMBU, CELERY)}
