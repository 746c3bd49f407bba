"""The shops: which processes each consists of, how an order is placed, and where its books are."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.celery_shop import place_order as celery_site
from examples.django_shop import place_order as django_site
from examples.kombu_shop import place_order as kombu_site
from examples.kombu_shop.wires import connect
from examples.shop_load.processes import Program
from examples.shop_load.reconcile import DATABASE, STORES, Store
from resonate_amqp.settings import PREFIX

EXAMPLES = Path(__file__).resolve().parent.parent
ROOT = EXAMPLES.parent
HOST = "127.0.0.1"

Environment = Mapping[str, str]
Place = Callable[[int], None]
"""Places the order of that number; when it returns, the broker has confirmed it."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop: its services, of which the first one takes orders, and their queues and books."""

    name: str
    program: Callable[[str, str, Environment], Program]
    site: Callable[[Environment], Place]
    services: Sequence[str] = ("orders", "payments", "warehouse", "mail")
    queues: Sequence[str] = ("orders", "payments", "warehouse", "mail")
    stores: Sequence[Store] = STORES
    prepare: Callable[[str], Program] | None = None
    """What is to be run to its end before the shop opens."""

    def programs(self, version: str, environment: Environment, takers: int) -> list[Program]:
        """The services, `before` or `after` they became durable."""
        names = [f"{self.services[0]}-{number}" for number in range(1, takers + 1)]
        names += self.services[1:]
        return [self.program(version, name, environment) for name in names]

    def preparations(self, version: str) -> list[Program]:
        return [] if self.prepare is None else [self.prepare(version)]


def variables(url: str, folder: Path) -> dict[str, str]:
    """What a shop finds in its environment, with a broker's url and a folder for its books."""
    with socket.socket() as provider, socket.socket() as web:
        provider.bind((HOST, 0))
        web.bind((HOST, 0))
        port, web_port = (str(probe.getsockname()[1]) for probe in (provider, web))
    return {
        "BROKER_URL": url,
        "PORT": port,
        "PROVIDER_URL": f"http://{HOST}:{port}",
        "PROVIDER_DB": str(folder / "provider.db"),
        "SHOP_URL": f"http://{HOST}:{web_port}",
        "SHOP_DB": str(folder / "shop.db"),
        "WAREHOUSE_DB": str(folder / "warehouse.db"),
        "MAIL_DB": str(folder / "mail.db"),
        PREFIX + "URL": url,
        PREFIX + "LEDGER": f"sqlite:///{folder / 'ledger.db'}",
    }


def _kombu_program(version: str, name: str, _environment: Environment) -> Program:
    module = f"examples.kombu_shop.{version}.{name.split('-')[0]}"
    return Program(name, [sys.executable, "-m", module], ROOT)


def _kombu_site(environment: Environment) -> Place:
    connection = connect(environment["BROKER_URL"])
    return lambda number: kombu_site.place(connection, number, "a book", _total(number))


def _celery_program(version: str, name: str, _environment: Environment) -> Program:
    folder = EXAMPLES / "celery_shop" / version
    return _worker(name, folder, "-Q", name.split("-")[0])


def _celery_site(environment: Environment) -> Place:
    site = celery_site.connect(environment["BROKER_URL"])
    return lambda number: celery_site.place(site, number, _total(number))


def _django_program(version: str, name: str, environment: Environment) -> Program:
    if name != "web":
        return _worker(name, EXAMPLES / "django_shop" / version)
    address = environment["SHOP_URL"].removeprefix("http://")
    return _manage(version, name, "runserver", "--noreload", address)


def _django_site(environment: Environment) -> Place:
    site = environment["SHOP_URL"]
    return lambda number: django_site.place(site, number, _total(number))


def _manage(version: str, name: str, *command: str) -> Program:
    folder = EXAMPLES / "django_shop" / version
    return Program(name, [sys.executable, "manage.py", *command], folder)


def _worker(name: str, folder: Path, *options: str) -> Program:
    command = [
        *(sys.executable, "-m", "celery", "-A", "shop", "worker", *options),
        *("--hostname", f"{name}@%h", "--concurrency", "2", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    return Program(name, command, folder, children=True)


def _total(number: int) -> int:
    return 10 + number % 40


KOMBU = Shop("kombu", _kombu_program, _kombu_site)
CELERY = Shop("celery", _celery_program, _celery_site)
DJANGO = Shop(
    "django",
    _django_program,
    _django_site,
    services=("orders", "web"),
    queues=("celery",),
    stores=DATABASE,
    prepare=lambda version: _manage(version, "migrate", "migrate"),
)
SHOPS = {shop.name: shop for shop in (KOMBU, CELERY, DJANGO)}
