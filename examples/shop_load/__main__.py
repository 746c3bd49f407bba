"""A minute in the life of a shop in which everything is killed, and the books afterwards.

    python -m examples.shop_load --shop kombu --seconds 60 --seed 7

Starts a broker, two ledgers, a payment provider and the services of a shop as processes of their
own, on this machine only. Orders are placed all the time, while services, children of Celery's
pools, ledgers, the provider and the broker are killed with `kill -9` at moments drawn from the
seed, and started again. Then it waits until every order is settled, and compares: each order that
the broker accepted has exactly one recorded charge, parcel and mail. Exits with 1, and a list,
when that is not so. With `--before` the shop runs as it was before it became durable.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from examples.shop_load import report
from examples.shop_load.kills import Kills
from examples.shop_load.load import Load
from examples.shop_load.processes import Program, Supervisor
from examples.shop_load.reconcile import Found, read
from examples.shop_load.shops import EXAMPLES, SHOPS, Shop, variables
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.settings import PREFIX

OPENS_S = 60.0
EMPTY_S = 30.0
SETTLES_S = {"after": 180.0, "before": 20.0}
GROUPS = "resonate.any."
LEDGER = [sys.executable, "-m", "resonate_amqp", "ledger", "serve"]
POLL_S = 0.1


def main() -> int:
    """Run it; answers the exit code."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:7.2f} s  {what}", flush=True)

    with ExitStack() as stack:
        folder = wanted.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="shop-load-"))
        )
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        broker = stack.enter_context(PrivateBroker(folder / "node"))
        environment = _environment(broker.url, folder)
        supervisor = Supervisor(folder, environment)
        stack.callback(supervisor.stop)
        version = "before" if wanted.before else "after"
        shop = SHOPS[wanted.shop]
        supervisor.finish(shop.preparations(version))
        programs = _own_programs(folder, version) + shop.programs(version, environment, takers=2)
        supervisor.start(programs)
        load = Load(shop.site(environment), wanted.rate)
        books = partial(read, folder, shop.stores)
        if not load.first(OPENS_S) or not _settled(books, load, version, OPENS_S):
            print(f"the shop does not open within {OPENS_S:g} s", file=sys.stderr)
            return 1
        # A confirm says that a message is on disk, not yet the definition of its queue.
        broker.control("eval", "mnesia:sync_log().")
        say(f"the {shop.name} shop is open, {version} it became durable; seed {wanted.seed}")
        kills = Kills(wanted.seed, supervisor, programs, broker, say)
        load.start()
        kills.go_on(wanted.seconds)
        ended_at = time.time()
        say("no more kills, no more orders")
        confirmed = load.end(OPENS_S)
        settled = _settled(books, load, version, SETTLES_S[version])
        say("every order is settled" if settled else "not every order is settled")
        found = books()
        differences = found.differs(load.accepted, ledger=version == "after")
        if not confirmed:
            differences.append("an order was placed and never confirmed")
        if version == "after":
            left = _left_in_queues(broker, shop)
            differences += [f"queue {name} still holds {count}" for name, count in left.items()]
        report.show(found, load, kills, supervisor, ended_at, differences)
    return 1 if differences else 0


def _arguments() -> argparse.Namespace:
    summary, _, description = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser("python -m examples.shop_load", description=summary)
    parser.epilog = description.rpartition("\n\n")[2]
    parser.add_argument("--shop", choices=sorted(SHOPS), required=True)
    parser.add_argument("--seconds", type=float, default=60, help="how long things are killed")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--rate", type=float, default=5, help="orders a second")
    parser.add_argument("--before", action="store_true", help="the shop before it was durable")
    parser.add_argument("--folder", type=Path, help="keep databases and logs in this new folder")
    return parser.parse_args()


def _environment(url: str, folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    # What is killed cannot tidy up after itself.
    return kept | variables(url, folder) | {"TMPDIR": str(folder / "tmp")}


def _own_programs(folder: Path, version: str) -> list[Program]:
    """What a shop needs beside its services."""
    provider = [sys.executable, str(EXAMPLES / "payment_provider.py")]
    ledgers = ["ledger-1", "ledger-2"] if version == "after" else []
    return [
        *(Program(name, LEDGER, folder) for name in ledgers),
        Program("provider", provider, folder),
    ]


def _settled(books: Callable[[], Found], load: Load, version: str, timeout_s: float) -> bool:
    """Wait until nothing is left to do for what was accepted; whether that came in time."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if _complete(books(), load, version):
            return True
        time.sleep(POLL_S)
    return False


def _complete(found: Found, load: Load, version: str) -> bool:
    missing = any(not found.keys[what].keys() >= load.accepted.keys() for what in found.keys)
    if version == "before":
        return not missing
    orders = all(f"order-{number}" in found.settled_at for number in load.accepted)
    return not missing and orders and not found.unfinished


def _left_in_queues(broker: PrivateBroker, shop: Shop) -> dict[str, int]:
    """How many messages are left in the queues of work, a while after the work was done."""
    until = time.monotonic() + EMPTY_S
    while True:
        listing = broker.control("list_queues", "--no-table-headers", "name", "messages")
        queues = dict(line.split("\t") for line in listing.splitlines())
        left = {
            name: int(count)
            for name, count in queues.items()
            if int(count) and (name in shop.queues or name.startswith(GROUPS))
        }
        if not left or time.monotonic() > until:
            return left


if __name__ == "__main__":
    sys.exit(main())
