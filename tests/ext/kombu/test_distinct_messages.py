"""Every message that differs is executed, every identical one once, and none is lost unrun.

Random messages go through the real decorator over Kombu's own in-process transport. Two services
with two callbacks each take messages whose producers share, repeat and recycle their names. The
broker delivers some again, and brings rejected ones back from a dead-letter route.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import Consumer, Queue
from kombu.message import Message

from resonate_amqp import Resonate
from resonate_amqp.ext.kombu import durable
from resonate_amqp.ext.plain import rebuild
from resonate_amqp.wire.codec import decode_call
from tests.ext.kombu.shop import Shop

SERVICES = ("shop", "mails")
CALLBACKS = ("on_event", "on_order")
REJECTED = 1
"""Messages with this number are rejected the first time, and acknowledged when they come back."""


@dataclass(frozen=True)
class Sent:
    """What a producer sent to a callback of a service, and how often it came back since."""

    service: str
    callback: str
    name: str | None
    number: int
    retry: int
    loops: int = 0

    @property
    def headers(self) -> dict[str, Any]:
        death = {"queue": self.service, "reason": "rejected", "count": self.loops, "time": 17}
        return {"retry": self.retry, **({"x-death": [death]} if self.loops else {})}

    @property
    def ends(self) -> str:
        return "REJECTED" if self.number == REJECTED and not self.loops else "ACK"


sent = st.builds(
    Sent,
    service=st.sampled_from(SERVICES),
    callback=st.sampled_from(CALLBACKS),
    name=st.sampled_from(("web-1", "web-2", "x" * 255, None)),
    number=st.integers(0, 1),
    retry=st.integers(0, 1),
)
which = st.integers(0, 20)
"""An earlier delivery, counted from the last one."""
deliveries = st.lists(
    st.one_of(
        sent.map(lambda this: ("sent", this)),
        which.map(lambda back: ("sent again", back)),
        which.map(lambda back: ("sent to the other service", back)),
        which.map(lambda back: ("sent to the other function", back)),
        which.map(lambda back: ("redelivered", back)),
        which.map(lambda back: ("comes back", back)),
    ),
    max_size=14,
)


class World:
    """Both services on one transport and one ledger: what they were given, ran and settled."""

    def __init__(self) -> None:
        self.shop = Shop()
        self.delivered: list[Sent] = []
        self.due: Counter[Sent] = Counter()
        """How often each has to run."""
        self.ran: Counter[Sent] = Counter()
        self.last: dict[Sent, Message] = {}
        self._services = [Resonate(system=self.shop.system, group=each) for each in SERVICES]
        for service in self._services:
            for name in CALLBACKS:
                self._consume(service, name)

    def _consume(self, service: Resonate, name: str) -> None:
        group = service.settings.group
        key = f"{group}.{name}"
        queue = Queue(f"{self.shop.queue.name}-{key}", self.shop.queue.exchange, key)

        def callback(body: Any, message: Any) -> None:
            this = sent_as(group, name, body, message.headers)
            self.ran[this] += 1
            message.reject() if this.ends == "REJECTED" else message.ack()

        made = durable(service, name=name)(callback)

        def keep(body: Any, message: Any) -> None:
            self.last[sent_as(group, name, body, message.headers)] = message

        Consumer(self.shop.channel, [queue], callbacks=[made, keep]).consume()

    def deliver(self, how: str, given: Sent | int) -> None:
        """Publish a message, or have an earlier one delivered once more."""
        if not (isinstance(given, Sent) or self.delivered):
            return
        earlier = self.delivered[::-1]
        this = given if isinstance(given, Sent) else earlier[given % len(earlier)]
        match how:
            case "comes back" if this.ends == "REJECTED":
                this = replace(this, loops=this.loops + 1)
            case "comes back":
                return
            case "sent to the other service":
                this = replace(this, service=other(SERVICES, this.service))
            case "sent to the other function":
                this = replace(this, callback=other(CALLBACKS, this.callback))
        again = how == "redelivered"
        # One that came by a dead-letter route and that nobody had before is another passage.
        if not this.name or this not in self.delivered or (this.loops and not again):
            self.due[this] += 1
        self.delivered.append(this)
        if again:
            self.shop.redeliver(self.last[this])
        else:
            self.shop._producer.publish(
                {"name": this.name, "number": this.number},
                routing_key=f"{this.service}.{this.callback}",
                message_id=this.name,
                correlation_id="one for all",
                headers=this.headers,
            )
        self.shop.drain()
        assert self.last[this]._state == this.ends

    def close(self) -> None:
        for service in self._services:
            service.stop()
        self.shop.close()


def other(pair: tuple[str, str], one: str) -> str:
    return pair[1 - pair.index(one)]


def sent_as(group: str, callback: str, body: Any, headers: dict[str, Any]) -> Sent:
    loops = sum(death["count"] for death in headers.get("x-death", ()))
    return Sent(group, callback, body["name"], body["number"], headers["retry"], loops)


@settings(max_examples=100, deadline=None)
@given(deliveries)
def test_each_different_message_is_executed_and_each_identical_one_once(
    deliveries: list[tuple[str, Any]],
) -> None:
    world = World()
    try:
        for how, what in deliveries:
            world.deliver(how, what)
        assert world.ran == world.due
        assert world.shop.unsettled() == 0
        assert recorded(world) == {this: due for this, due in world.due.items() if this.name}
    finally:
        world.close()


def recorded(world: World) -> Counter[Sent]:
    """How many outcomes the ledger holds of each, every one under a promise of its own."""
    found: Counter[Sent] = Counter()
    for name in {this.name for this in world.delivered if this.name}:
        for promise in world.shop.promises(name):
            assert not promise.pending
            record = decode_call(promise.param).args[0]
            func = promise.param.headers["func"]
            headers = rebuild(record["headers"])
            group = promise.target.rpartition("@")[2]
            found[sent_as(group, func, record["body"], headers)] += 1
    return found
