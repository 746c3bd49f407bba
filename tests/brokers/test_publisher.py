"""Publisher: every publish has one outcome, in whatever order the broker tells them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from resonate_amqp.brokers.rabbitmq.publisher import Publisher
from resonate_amqp.ports import Confirmed, Event, Unconfirmed


class Channel:
    """A channel whose broker is the test."""

    def __init__(self) -> None:
        self.is_open = True
        self.sent: list[tuple[str, pika.BasicProperties]] = []
        self.returned: Callable[..., None] = lambda *_: None
        self.closed: Callable[..., None] = lambda *_: None
        self.answer: Callable[[Any], None] = lambda _: None

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self.returned = callback

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.closed = callback

    def confirm_delivery(
        self, answer: Callable[[Any], None], callback: Callable[[Any], None]
    ) -> None:
        self.answer = answer
        callback(None)

    def basic_publish(
        self,
        _exchange: str,
        key: str,
        _body: bytes,
        properties: pika.BasicProperties,
        _mandatory: bool,
    ) -> None:
        self.sent.append((key, properties))

    def close(self) -> None:
        self.is_open = False
        self.closed(self, ChannelClosedByBroker(200, "closed"))

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self.answer(SimpleNamespace(method=Basic.Ack(tag, multiple)))

    def nack(self, tag: int, *, multiple: bool = False) -> None:
        self.answer(SimpleNamespace(method=Basic.Nack(tag, multiple)))

    def give_back(self, number: int) -> None:
        """Return the `number`-th message sent, as unroutable."""
        key, properties = self.sent[number]
        self.returned(self, Basic.Return(312, "NO_ROUTE", "", key), properties, b"")


class Wire:
    """A connection that opens channels at once, and the publisher on it."""

    def __init__(self) -> None:
        self.is_open = True
        self.channels: list[Channel] = []
        self.events: list[Event] = []
        self.publisher = Publisher(
            cast(pika.SelectConnection, self), self.events.append, lambda: None
        )

    def channel(self, on_open_callback: Callable[[Channel], None]) -> None:
        self.channels.append(Channel())
        on_open_callback(self.channels[-1])

    @property
    def confirming(self) -> Channel:
        return self.channels[-1]

    def publish(self, *tokens: int) -> None:
        for token in tokens:
            self.publisher.publish(
                "", f"q{token}", b"", persistent=True, mandatory=True, token=token, reply_to=""
            )

    def outcomes(self) -> dict[int, str]:
        """What became of each token; fails when one has two outcomes."""
        found: dict[int, str] = {}
        for event in self.events:
            assert isinstance(event, Confirmed | Unconfirmed)
            for token in event.tokens:
                assert token not in found
                found[token] = "yes" if isinstance(event, Confirmed) else "no"
        return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_confirms_one_by_one(wire: Wire) -> None:
    wire.publish(11, 12)
    wire.confirming.ack(1)
    assert wire.outcomes() == {11: "yes"}
    wire.confirming.ack(2)
    assert wire.outcomes() == {11: "yes", 12: "yes"}


def test_one_confirm_of_several_covers_all_before_it(wire: Wire) -> None:
    wire.publish(11, 12, 13, 14)
    wire.confirming.ack(3, multiple=True)
    assert wire.events == [Confirmed((11, 12, 13))]
    wire.confirming.ack(4, multiple=True)
    assert wire.outcomes() == dict.fromkeys((11, 12, 13, 14), "yes")


def test_confirms_out_of_order_belong_to_their_own_message(wire: Wire) -> None:
    wire.publish(11, 12, 13, 14)
    wire.confirming.ack(3)
    assert wire.outcomes() == {13: "yes"}
    wire.confirming.ack(1)
    assert wire.outcomes() == {13: "yes", 11: "yes"}
    wire.confirming.ack(4, multiple=True)
    assert wire.outcomes() == dict.fromkeys((11, 12, 13, 14), "yes")


def test_a_confirm_of_nothing_is_no_event(wire: Wire) -> None:
    wire.publish(11)
    wire.confirming.ack(1)
    wire.confirming.ack(1)
    wire.confirming.ack(9)
    assert wire.events == [Confirmed((11,))]


def test_a_returned_message_is_unconfirmed_although_it_is_acknowledged(wire: Wire) -> None:
    wire.publish(11, 12, 13)
    wire.confirming.give_back(1)
    wire.confirming.ack(3, multiple=True)
    assert wire.outcomes() == {11: "yes", 12: "no", 13: "yes"}
    assert Unconfirmed((12,), "q12") in wire.events


def test_a_refused_message_takes_every_open_one_to_a_new_channel(wire: Wire) -> None:
    """A channel that saw one nack from a queue without a leader may go on refusing."""
    wire.publish(11, 12, 13)
    refusing = wire.confirming
    refusing.nack(2)
    assert wire.outcomes() == {11: "no", 12: "no", 13: "no"}
    assert not refusing.is_open
    assert wire.confirming is not refusing
    wire.publish(12)
    wire.confirming.ack(1)
    assert wire.events[-1] == Confirmed((12,))


def test_several_refused_messages_are_all_unconfirmed(wire: Wire) -> None:
    wire.publish(11, 12, 13)
    wire.confirming.nack(2, multiple=True)
    assert wire.outcomes() == dict.fromkeys((11, 12, 13), "no")


def test_tags_count_from_one_on_every_channel(wire: Wire) -> None:
    wire.publish(11)
    wire.confirming.close()
    assert wire.events == [Unconfirmed((11,))]
    wire.publish(12)
    wire.confirming.ack(1)
    assert wire.events[-1] == Confirmed((12,))


def test_a_return_does_not_outlive_its_channel(wire: Wire) -> None:
    wire.publish(11)
    wire.confirming.give_back(0)
    wire.confirming.close()
    wire.publish(11)
    wire.confirming.ack(1)
    assert wire.events[-1] == Confirmed((11,))


def test_a_lost_connection_leaves_every_open_message_unconfirmed(wire: Wire) -> None:
    wire.publish(11, 12)
    wire.confirming.ack(1)
    wire.is_open = False
    wire.publisher.lost()
    assert wire.outcomes() == {11: "yes", 12: "no"}
    wire.publish(13)
    assert wire.outcomes()[13] == "no"


def test_many_random_confirms_leave_nothing_open() -> None:
    """Tags in any order, alone or several at once: each token is confirmed exactly once."""
    order = [7, 3, 12, 1, 9, 15, 20]
    wire = Wire()
    wire.publish(*range(101, 121))
    for tag in order:
        wire.confirming.ack(tag, multiple=tag % 5 == 0)
    assert wire.outcomes() == dict.fromkeys(range(101, 121), "yes")


def test_a_message_the_broker_finds_too_large_is_told_apart_from_those_it_took_down(
    wire: Wire,
) -> None:
    """RabbitMQ closes the channel over it; the others may be published again, it may not."""
    wire.publish(1)
    wire.publisher.publish(
        "", "q", b"x" * 900, persistent=True, mandatory=True, token=2, reply_to=""
    )
    reason = "PRECONDITION_FAILED - message size 900 is larger than configured max size 500"
    wire.confirming.closed(wire.confirming, ChannelClosedByBroker(406, reason))
    assert wire.events == [Unconfirmed((2,), oversized=True), Unconfirmed((1,))]
