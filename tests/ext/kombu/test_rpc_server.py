"""The RPC server: a client after the AMQP tutorial calls a durable function."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import amqp
import pika
import pytest
from kombu import Connection

from resonate_amqp import Context, Resonate
from resonate_amqp.core.model import TaskState
from resonate_amqp.errors import UnknownFunction
from resonate_amqp.ext.kombu import durable_rpc_server
from resonate_amqp.ext.kombu.rpc import arguments
from resonate_amqp.resonate.embedded import Embedded
from tests.ext.kombu.shop import wait_until

Steps = Generator[Any, Any, Any]
DIRECT = "amq.rabbitmq.reply-to"
WAIT_S = 10.0


class Desk:
    """A server of the queue `prices`, and a client that knows nothing of durable calls."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ran: list[Any] = []
        self.stack = ExitStack()
        self.system = self.stack.enter_context(Embedded())
        self.resonate = Resonate(system=self.system, group="prices", park_after=0.1)
        self.stack.callback(self.resonate.stop)
        self.client = pika.BlockingConnection(pika.URLParameters(url))
        self.stack.callback(self.client.close)
        self.channel = self.client.channel()
        self.channel.queue_declare("prices", durable=True, arguments={"x-max-length": 500})

    def serve(self, function: Any, **options: Any) -> None:
        """Register the function and serve it, in a thread."""
        self.resonate.register(function, name="price")
        connection = self.stack.enter_context(Connection(self.url))
        server = durable_rpc_server(self.resonate, connection, "prices", "price", **options)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()

        def stop() -> None:
            server.should_stop = True
            thread.join(WAIT_S)

        self.stack.callback(stop)

    def ask(self, body: bytes, correlation_id: str = "1", reply_to: str = DIRECT) -> Any:
        """What the server replies: its properties and its body."""
        found: list[Any] = []

        def heard(_channel: Any, _method: Any, properties: Any, reply: bytes) -> None:
            found.append((properties, json.loads(reply)))

        tag = self.channel.basic_consume(reply_to, heard, auto_ack=True)
        properties = pika.BasicProperties(reply_to=reply_to, correlation_id=correlation_id)
        self.channel.basic_publish("", "prices", body, properties)
        self.client.process_data_events(0)
        for _ in range(100):
            if found:
                break
            self.client.process_data_events(WAIT_S / 100)
        self.channel.basic_cancel(tag)
        (answer,) = found
        assert (answer[0].correlation_id or "") == correlation_id
        return answer

    def execution(self, correlation_id: str) -> str:
        """The promise of the only request with this correlation id."""
        search = self.resonate.promises.search
        (found,) = wait_until(
            f"{correlation_id} is claimed", lambda: search("correlation_id", correlation_id)
        )
        return str(found.id)

    def left(self) -> int:
        """How many requests lie in the queue."""
        declared = self.channel.queue_declare("prices", passive=True)
        return int(declared.method.message_count)


@pytest.fixture
def desk(vhost_url: str) -> Iterator[Desk]:
    made = Desk(vhost_url)
    with made.stack:
        yield made


def test_a_request_is_answered_and_a_repeated_one_gets_the_recorded_reply(desk: Desk) -> None:
    def price(ctx: Context, item: str, pieces: int) -> dict[str, Any]:
        desk.ran.append(ctx.id)
        return {"item": item, "total": 3 * pieces}

    desk.serve(price)
    queue = desk.channel.queue_declare("", exclusive=True).method.queue
    for _ in range(2):
        properties, reply = desk.ask(b'{"item": "book", "pieces": 2}', "same", queue)
        assert (reply, properties.content_type) == (
            {"item": "book", "total": 6},
            "application/json",
        )
    assert desk.ran == [desk.execution("same")]
    assert desk.ask(b'["pen", 3]', "other", queue)[1] == {"item": "pen", "total": 9}
    assert desk.left() == 0


def test_a_client_that_counts_anew_gets_no_answer_to_the_question_of_its_predecessor(
    desk: Desk,
) -> None:
    def price(ctx: Context, item: str) -> str:
        desk.ran.append(item)
        return f"price of {item}"

    desk.serve(price)
    assert desk.ask(b'"book"', "1")[1] == "price of book"
    assert desk.ask(b'"pen"', "1")[1] == "price of pen"
    queue = desk.channel.queue_declare("", exclusive=True).method.queue
    assert desk.ask(b'"book"', "1", queue)[1] == "price of book"
    assert desk.ran == ["book", "pen", "book"]


def test_other_content_under_an_explicit_id_is_replied_as_a_conflict(desk: Desk) -> None:
    def price(ctx: Context, item: str) -> str:
        return f"price of {item}"

    desk.serve(price, id=lambda body, message: message.properties["correlation_id"])
    assert desk.ask(b'"book"', "1")[1] == "price of book"
    properties, reply = desk.ask(b'"pen"', "1")
    assert reply is None
    assert "taken by a message with other content" in properties.headers["resonate:error"]
    assert desk.ask(b'"book"', "1")[1] == "price of book"


def test_an_error_is_replied_in_a_header(desk: Desk) -> None:
    def price(ctx: Context, item: str) -> None:
        raise LookupError(f"no price for {item}")

    desk.serve(price)
    properties, reply = desk.ask(b'"book"')
    assert (reply, properties.headers) == (None, {"resonate:error": "no price for book"})


def test_a_call_that_was_handed_over_is_replied_when_it_has_ended(desk: Desk) -> None:
    def price(ctx: Context, item: str) -> Steps:
        return (yield (yield ctx.promise(id="approval")))

    desk.serve(price)

    def handed_over() -> bool:
        task = desk.resonate.promises.task(desk.execution("1"))
        return task is not None and task.state is TaskState.SUSPENDED

    def approve() -> None:
        wait_until("it is handed over", handed_over)
        desk.resonate.promises.resolve("approval", 17)

    threading.Timer(0.3, approve).start()
    assert desk.ask(b'"book"')[1] == 17


@pytest.mark.parametrize(
    ("body", "correlation_id", "told"),
    [(b"{not json", "bad", "body: it is not JSON"), (b"1", "", "has no correlation_id")],
)
def test_a_request_that_cannot_be_executed_is_put_aside_and_its_client_told(
    desk: Desk, caplog: pytest.LogCaptureFixture, body: bytes, correlation_id: str, told: str
) -> None:
    def price(ctx: Context, item: str) -> str:
        return item

    desk.serve(price)
    properties, reply = desk.ask(body, correlation_id)
    assert reply is None
    assert told in properties.headers["resonate:error"]
    assert "dead-lettered a message of queue 'prices'" in caplog.text
    assert desk.ask(b'"after"', "good")[1] == "after"


def test_the_queue_is_never_declared_and_the_function_has_to_be_there(desk: Desk) -> None:
    with pytest.raises(UnknownFunction, match="'missing' is not registered here"):
        durable_rpc_server(desk.resonate, Connection(desk.url), "prices", "missing")

    def price(ctx: Context, item: str) -> str:
        return item

    desk.serve(price)
    assert desk.ask(b'"book"')[1] == "book"
    with Connection(desk.url) as connection, pytest.raises(amqp.PreconditionFailed):
        connection.default_channel.queue_declare("prices", durable=True, auto_delete=False)


def several(ctx: Any, item: str, pieces: int = 1) -> None: ...
def one(ctx: Any, order: Any) -> None: ...
def none(ctx: Any) -> None: ...
def any_number(ctx: Any, *items: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "body", "wanted"),
    [
        (several, {"item": "book"}, ((), {"item": "book"})),
        (several, ["book", 2], (("book", 2), {})),
        (several, "book", (("book",), {})),
        (one, {"id": 5}, (({"id": 5},), {})),
        (one, {"order": {"id": 5}}, ((), {"order": {"id": 5}})),
        (one, [1, 2], (([1, 2],), {})),
        (one, None, ((None,), {})),
        (none, None, ((), {})),
        (none, [], ((), {})),
        (any_number, [1, 2], ((1, 2), {})),
    ],
)
def test_a_body_stands_for_the_arguments_that_the_function_takes(
    function: Any, body: Any, wanted: Any
) -> None:
    assert arguments(inspect.signature(function), body) == wanted
