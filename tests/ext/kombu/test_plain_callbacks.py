"""Plain callbacks: run once per id, in the consumer's thread, with what they intended recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from kombu.exceptions import MessageStateError
from kombu.message import Message

from resonate_amqp import Resonate
from resonate_amqp.core.model import PromiseState
from resonate_amqp.errors import RemoteError, UsageError
from resonate_amqp.ext.kombu import durable
from resonate_amqp.ext.kombu.messages import recorded
from resonate_amqp.runtime.retry import Constant
from tests.ext.kombu.shop import Shop, wait_until

Seen = list[Any]


def test_a_callback_runs_in_the_thread_that_drains_and_its_outcome_is_recorded(
    shop: Shop,
) -> None:
    ran: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> str:
        ran.append((body, threading.current_thread(), message.channel is shop.channel))
        message.ack()
        return "charged"

    shop.consumer(on_order)
    shop.publish({"id": 1})
    shop.drain()
    assert ran == [({"id": 1}, threading.current_thread(), True)]
    assert shop.result() == "charged"
    assert (shop.intent(), shop.unsettled()) == ("ack", 0)


def test_the_broker_is_told_only_after_the_outcome_is_recorded(shop: Shop) -> None:
    seen: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        message.ack()
        seen.append((message.acknowledged, shop.unsettled()))

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    assert seen == [(True, 1)]
    assert (shop.promise().state, shop.unsettled()) == (PromiseState.RESOLVED, 0)


@pytest.mark.parametrize("intent", ["ack", "reject"])
def test_a_redelivery_gets_the_recorded_intent_and_runs_nothing(shop: Shop, intent: str) -> None:
    ran: Seen = []
    messages: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        ran.append(body)
        messages.append(message)
        getattr(message, intent)()

    after: Seen = []
    shop.consumer(on_order, lambda body, message: after.append(message._state))
    shop.publish({"n": 1})
    shop.drain()
    shop.redeliver(messages[0])
    shop.drain()
    state = {"ack": "ACK", "reject": "REJECTED"}[intent]
    assert (ran, after, shop.intent()) == ([{"n": 1}], [state, state], intent)
    assert shop.unsettled() == shop.waiting() == 0


def test_an_error_escapes_and_leaves_the_message_unacknowledged_and_nothing_recorded(
    shop: Shop,
) -> None:
    ran: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        ran.append(message)
        if len(ran) == 1:
            message.ack()
            raise LookupError("no such order")
        message.ack()

    shop.consumer(on_order)
    shop.publish({})
    with pytest.raises(LookupError, match="no such order"):
        shop.drain()
    assert (shop.promise().pending, shop.unsettled(), ran[0].acknowledged) == (True, 1, False)
    ran[0].requeue()
    shop.drain()
    assert (len(ran), shop.intent(), shop.unsettled()) == (2, "ack", 0)


def test_with_a_retry_policy_the_error_is_an_outcome_when_the_policy_has_ended(
    shop: Shop,
) -> None:
    ran: Seen = []

    @durable(shop.resonate, retry_policy=Constant(delay=0.01, max_retries=2))
    def on_order(body: Any, message: Any) -> None:
        ran.append(threading.current_thread())
        message.ack()
        raise LookupError("no such order")

    states: Seen = []
    shop.consumer(on_order, lambda body, message: states.append(message._state))
    shop.publish({})
    shop.publish({})
    shop.drain(2)
    assert ran == [threading.current_thread()] * 3
    with pytest.raises(LookupError, match="no such order"):
        shop.result()
    assert (states, shop.unsettled(), shop.waiting()) == (["REJECTED"] * 2, 0, 0)


def test_a_requeued_message_is_run_again_with_nothing_recorded(shop: Shop) -> None:
    ran: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        ran.append(shop.promise().pending)
        if len(ran) < 3:
            message.requeue()
        else:
            message.ack()

    shop.consumer(on_order)
    shop.publish({})
    shop.drain(3)
    assert (ran, shop.intent(), shop.unsettled()) == ([True] * 3, "ack", 0)


def test_a_message_acknowledged_later_by_another_thread_is_recorded_first(shop: Shop) -> None:
    handed: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> int:
        handed.append(message)
        return 7

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    assert (shop.promise().pending, shop.unsettled()) == (True, 1)
    thread = threading.Thread(target=handed[0].ack)
    thread.start()
    thread.join()
    shop.await_settled()
    assert (shop.result(), shop.intent()) == (7, "ack")
    with pytest.raises(MessageStateError):
        handed[0].ack()


def test_callbacks_of_one_message_run_in_order_each_under_an_id_of_its_own(shop: Shop) -> None:
    ran: Seen = []

    def noting(name: str, act: Callable[[Any], None]) -> Callable[[Any, Any], None]:
        def callback(body: Any, message: Any) -> None:
            ran.append((name, message.acknowledged))
            act(message)

        return callback

    first = durable(shop.resonate, name="first")(noting("first", lambda message: None))
    second = durable(shop.resonate, name="second")(noting("second", lambda message: message.ack()))
    plain = noting("plain", lambda message: None)
    shop.consumer(first, plain, second)
    shop.publish({})
    shop.drain()
    shop.await_settled()
    assert ran == [("first", False), ("plain", False), ("second", False)]
    assert (shop.intent(func="first"), shop.intent(func="second")) == ("ack", "ack")
    shop.publish({})
    shop.drain()
    assert len(ran) == 4
    assert ran[3] == ("plain", True)


def test_a_value_that_cannot_be_recorded_is_nothing_to_fail_for(shop: Shop) -> None:
    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> object:
        message.ack()
        return object()

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    assert (shop.result(), shop.unsettled()) == (None, 0)


def test_a_message_acknowledged_before_the_work_is_named(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    ran: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        ran.append(message.acknowledged)

    shop.consumer(lambda body, message: message.ack(), on_order)
    shop.publish({})
    shop.publish({})
    shop.drain(2)
    wait_until("it is recorded", lambda: not shop.promise().pending)
    assert ran == [True]
    told = [record.getMessage() for record in caplog.records if "before the work" in record.msg]
    assert len(told) == 1
    assert shop.queue.name in told[0]


def test_acknowledging_several_at_once_is_refused(shop: Shop) -> None:
    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        message.ack(multiple=True)

    shop.consumer(on_order)
    shop.publish({})
    with pytest.raises(UsageError, match=r"call message\.ack\(\) on each"):
        shop.drain()


def test_a_callback_that_waits_for_the_ledger_ends_with_the_instance(shop: Shop) -> None:
    """A claim of a stopped instance is answered by nobody; the message stays."""
    other = Resonate(system=shop.system, group="shop")

    @durable(other)
    def on_order(body: Any, message: Any) -> None:
        raise AssertionError("nobody can record it")

    shop.consumer(on_order)
    other.stop()
    shop.publish({})
    began = time.monotonic()
    with pytest.raises(UsageError, match="stopped"):
        shop.drain()
    assert time.monotonic() - began < 5
    assert shop.unsettled() == 1


def run_by_the_worker(shop: Shop, act: Callable[[Any], Any]) -> Any:
    """What a callback does whose message no process holds any more; answers its handle."""

    @durable(shop.resonate, name="on_order")
    def on_order(body: Any, message: Any) -> Any:
        return [body, type(message).__name__, act(message)]

    shop.resonate.consume()
    record = recorded(Message(body="{}", properties={"message_id": "order-1"}), {"n": 1}, raw=False)
    there = shop.resonate.options(target="poll://any@shop")
    return there.rpc("order-1", "on_order", record)


def test_the_worker_runs_what_was_handed_over_with_the_recorded_message(shop: Shop) -> None:
    handle = run_by_the_worker(shop, lambda message: message.ack())
    assert handle.result(10) == [{"n": 1}, "RecordedMessage", None]


def test_a_rejection_of_what_was_handed_over_is_its_outcome(shop: Shop) -> None:
    handle = run_by_the_worker(shop, lambda message: message.reject())
    with pytest.raises(RemoteError, match=r"UsageError: message\.reject\(\) came too late"):
        handle.result(10)


def test_an_error_of_what_was_handed_over_records_nothing_and_is_told(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    handle = run_by_the_worker(shop, lambda message: message.headers["missing"])
    wait_until("it is told", lambda: "on_order failed on order-1" in caplog.text)
    with pytest.raises(TimeoutError):
        handle.result(0.2)


def test_work_that_is_done_is_not_done_again_for_a_lease_lost_before_its_record(
    shop: Shop,
) -> None:
    ran: list[int] = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        ran.append(1)
        message.ack()
        shop.resonate.tasks.halt(shop.promise().id, "an operator takes it away")
        threading.Thread(target=give_back).start()

    def give_back() -> None:
        wait_until("the body has left", lambda: not shop.resonate._joined()._worker.busy())
        shop.resonate.tasks.resume(shop.promise().id)

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    assert (ran, shop.intent(), shop.unsettled()) == ([1], "ack", 0)
