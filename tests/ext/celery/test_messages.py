"""The message of a task as the ledger sends it again, and where to."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context as Request
from kombu import Exchange, Queue
from kombu.serialization import loads

from resonate_amqp import Resonate
from resonate_amqp.ext.celery import messages
from resonate_amqp.ext.celery.made import Made
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.wire.address import canonical, queue_of


def sent(app: Celery, **options: Any) -> Request:
    """The request that a worker makes of a message which was sent with these options."""
    headers = options.pop("headers", {})
    made = app.amqp.as_task_v2("id-1", "shop.fulfil", (1,), {"two": 2}, **options)
    info = {"exchange": "", "routing_key": "orders", "priority": 3, "redelivered": True}
    args, kwargs, embedded = made.body
    return Request(
        {**made.headers, **headers, **embedded},
        args=args,
        kwargs=kwargs,
        delivery_info=info,
        properties={"content_type": "application/json"},
        called_directly=False,
        **made.properties,
    )


@pytest.fixture
def app() -> Celery:
    return Celery("messages", broker="amqp://", set_as_current=False)


def test_a_template_is_the_message_without_eta_expiry_and_the_headers_of_deliveries(
    app: Celery,
) -> None:
    callback = app.signature("shop.tell")
    request = sent(
        app,
        reply_to="replies",
        countdown=9,
        expires=10,
        retries=2,
        time_limit=5,
        root_id="root",
        parent_id="parent",
        callbacks=[callback],
        headers={
            "tenant": "a",
            "signature": b"\0\xff",
            "x-delivery-count": 4,
            "x-death": [
                {"queue": "orders", "reason": "rejected", "time": datetime(2026, 1, 2, 3, 4, 5)}
            ],
            "resonate:id": "id-1",
        },
    )
    template = messages.template_of("shop.fulfil", request)
    json.dumps(template)
    headers = template["headers"]
    assert headers["id"], headers["task"] == ("id-1", "shop.fulfil")
    assert (headers["eta"], headers["expires"], headers["retries"]) == (None, None, 2)
    assert (headers["root_id"], headers["parent_id"]) == ("root", "parent")
    assert headers["timelimit"] == [5, None]
    assert headers["tenant"] == "a"
    assert [name for name in headers if name.startswith(("x-", "resonate:"))] == ["x-death"]
    died = {"resonate:timestamp": 1_767_323_045}
    assert headers["x-death"] == [{"queue": "orders", "reason": "rejected", "time": died}]
    assert headers["signature"] == {"resonate:bytes": "AP8="}
    properties = template["properties"]
    assert (properties["reply_to"], properties["correlation_id"]) == ("replies", "id-1")
    assert properties["priority"] == 3
    body = loads(template["body"], template["content_type"], template["content_encoding"])
    assert body[:2] == [[1], {"two": 2}]
    assert body[2]["callbacks"][0]["task"] == "shop.tell"


def test_a_serializer_whose_output_is_no_text_is_replaced_by_json(app: Celery) -> None:
    request = sent(app)
    request.update(properties={"content_type": "application/x-python-serialize"})
    assert messages.template_of("shop.fulfil", request)["content_type"] == "application/json"


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        ("", "anything", "anything"),
        ("shop", "orders.new", "orders"),
        ("shop", "mail.a.b", "mail"),
        ("celery", "celery", "plain"),
        ("celery_delayed_delivery", ".".join("0" * 28) + ".orders.new", "orders"),
        ("letters", "unknown", "letters"),
        ("elsewhere", "unknown", "orders"),
    ],
)
def test_the_queue_a_message_came_from_is_found(
    app: Celery, exchange: str, key: str, queue: str
) -> None:
    topic = Exchange("shop", type="topic")
    app.conf.task_queues = [
        Queue("orders", topic, routing_key="orders.*"),
        Queue("mail", topic, routing_key="mail.#"),
        Queue("plain", Exchange("celery"), routing_key="celery"),
        Queue("letters", Exchange("letters", type="headers"), binding_arguments={"a": "b"}),
    ]
    request = Request({"delivery_info": {"exchange": exchange, "routing_key": key}})
    assert messages.queue_of(app, request) == queue


def test_the_only_queue_of_a_worker_needs_no_finding(app: Celery) -> None:
    app.conf.task_queues = [Queue("only", Exchange("x"), routing_key="y")]
    request = Request({"delivery_info": {"exchange": "e2e", "routing_key": "z"}})
    assert messages.queue_of(app, request) == "only"


def test_a_target_spells_any_queue(app: Celery) -> None:
    request = Request({"delivery_info": {"exchange": "", "routing_key": "orders & mail%"}})
    assert queue_of(canonical(messages.target_of(app, request))) == "orders & mail%"


def test_a_task_id_becomes_a_promise_id_encoded_where_it_must_be() -> None:
    made = Made(Shape(print, None, generator=False), lambda _task: Resonate(group="messages"))
    assert made.promise_id(Request({"id": "a:b%c\n"}), (), {}) == "a%3Ab%25c%0A"
    assert made.promise_id(Request({"id": "é-1.2"}), (), {}) == "é-1.2"
    replacement = Request({"id": "x", "replaced_task_nesting": 1})
    assert made.promise_id(replacement, (), {}) == "x.replaced-1"
    asked = Request({"id": "x", "resonate:id": "order:1.2"})
    assert made.promise_id(asked, (), {}) == "order:1.2"
