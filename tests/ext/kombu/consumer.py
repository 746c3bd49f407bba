"""A consumer process of the shop: `… -m tests.ext.kombu.consumer QUEUE CALLBACK [NAME=VALUE…]`.

It consumes a queue that it never declares. CALLBACK is `plain`, `flow`, `shipped`, which calls
service c, `picky`, which rejects a message until it has come back twice, `stubborn`, which gives
each message back, or `mail`, whose messages have no body `order`; each effect is noted in the
scenario's journal under the message's order. `url`, `heartbeat` and `prefetch` are those of the
Kombu connection, which Resonate takes over unless `own` is a url of its own; `group` is another
service. With `dies=ack` or `dies=reject` the process is killed in the place of its first
settlement of that kind.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Generator
from typing import Any

from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin

from resonate_amqp import Context, Resonate
from resonate_amqp.ext.kombu import durable
from tests.ext.kombu.processes import GROUP as SHOP
from tests.scenarios.journal import own_journal

OPTIONS = dict(argument.split("=", 1) for argument in sys.argv[3:])
URL = OPTIONS.get("url") or os.environ["RESONATE_AMQP_URL"]

GROUP = OPTIONS.get("group", SHOP)

journal = own_journal()
connection = Connection(URL, heartbeat=float(OPTIONS.get("heartbeat", 0)))
resonate = (
    Resonate(OPTIONS["own"], group=GROUP, topology="passive")
    if "own" in OPTIONS
    else Resonate.from_kombu(connection, group=GROUP)
)


def charge(ctx: Context, order: str) -> str:
    journal.began("charge", order)
    journal.pass_gate("charge")
    return f"charged {order}"


def mail(ctx: Context, order: str) -> None:
    journal.began("mail", order)


class Worker(ConsumerMixin):
    """What the shop had before; the callbacks alone are decorated."""

    def __init__(self, queue: str, callback: str) -> None:
        self.connection = connection
        self.queue = Queue(queue, no_declare=True)
        self.callback = callback

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        if "dies" in OPTIONS:
            name = f"basic_{OPTIONS['dies']}"
            setattr(channel, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        prefetch = int(OPTIONS.get("prefetch", 10))
        callback = getattr(self, self.callback)
        return [Consumer([self.queue], callbacks=[callback], prefetch_count=prefetch)]

    @durable(resonate, name="plain")
    def plain(self, body: Any, message: Any) -> str:
        order = str(body["order"])
        journal.began("plain", order)
        journal.pass_gate("plain")
        time.sleep(body.get("lasts", 0))
        message.ack()
        return f"done {order}"

    @durable(resonate, name="flow", id=lambda body, message: body["order"])
    def flow(self, ctx: Context, body: Any, message: Any) -> Generator[Any, Any, Any]:
        receipt = yield ctx.lfc(charge, body["order"])
        yield ctx.lfc(mail, body["order"])
        return receipt

    @durable(resonate, name="picky")
    def picky(self, body: Any, message: Any) -> None:
        journal.began("picky", body["order"])
        journal.pass_gate("picky")
        deaths = [one for one in message.headers.get("x-death", ()) if one["reason"] == "rejected"]
        if sum(death["count"] for death in deaths) < 2:
            message.reject()
        else:
            message.ack()

    @durable(resonate, name="stubborn")
    def stubborn(self, body: Any, message: Any) -> None:
        journal.began("stubborn", body["order"])
        message.requeue()

    @durable(resonate, name="mail")
    def mail(self, body: Any, message: Any) -> None:
        journal.began("mail", body["to"])
        journal.pass_gate("mail")
        message.ack()

    @durable(resonate, name="shipped")
    def shipped(self, ctx: Context, body: Any, message: Any) -> Generator[Any, Any, Any]:
        receipt = yield ctx.lfc(charge, body["order"])
        yield ctx.rfc("work", 1).options(target="poll://any@service-c")
        return receipt


def main() -> None:
    worker = Worker(sys.argv[1], sys.argv[2])

    def stop(*_: object) -> None:
        worker.should_stop = True

    signal.signal(signal.SIGTERM, stop)
    worker.run()
    resonate.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
