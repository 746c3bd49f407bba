"""The how-to about Kombu consumers: its programs consume, and do what the page says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pika
import pytest

from resonate_amqp.errors import ResonateError
from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from tests.docs.markdown import ROOT, blocks
from tests.ext.kombu.shop import wait_until

pytestmark = pytest.mark.rabbitmq

PAGE = ROOT / "docs" / "how-to" / "retrofit-kombu.md"
WAIT_S = 10.0


@pytest.fixture
def page(vhost_url: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The names that the page defines, on a broker of the test's own with a ledger."""
    settings = read({"url": vhost_url, "ledger": f"sqlite:///{tmp_path / 'ledger.db'}"})
    ledger = start_ledger(settings)
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as outside:
        outside.channel().queue_declare("prices", durable=True)
        outside.channel().queue_declare("orders", durable=True)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(PAGE):
        if block.language == "sh":
            continue
        assert block.language == "python"
        text = block.text.replace("amqp://localhost//", vhost_url)
        exec(compile(text, f"{PAGE.name}:{block.line}", "exec", dont_inherit=True), names)
    names["payments"].start()
    try:
        yield names
    finally:
        names["resonate"].stop()
        names["payments"].stop()
        names["connection"].close()
        ledger.stop()


@contextlib.contextmanager
def running(worker: Any) -> Iterator[None]:
    """A mixin consumes in a thread."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.should_stop = True
        thread.join(WAIT_S)


def outcome(page: dict[str, Any], name: str) -> Any:
    """What a promise is resolved with that has this id, or whose message was called so."""

    def known() -> Any:
        for promise in page["resonate"].promises.search("message_id", name):
            return page["resonate"].get(promise.id)
        with contextlib.suppress(ResonateError):
            return page["resonate"].get(name)
        return None

    return wait_until(f"{name} is known", known).result(WAIT_S)


@pytest.mark.parametrize(
    ("worker", "promise_id", "wanted"),
    [
        ("Durable", "order-7", "charged 30 for 7"),
        ("Fulfilment", "parcel-7", ["charged 30 for 7", "parcel for 7"]),
    ],
)
def test_an_order_is_recorded_as_the_page_says(
    page: dict[str, Any], worker: str, promise_id: str, wanted: Any
) -> None:
    with running(page[worker]()):
        assert outcome(page, promise_id) == wanted
    with page["connection"].clone() as outside:
        assert outside.SimpleQueue("orders").qsize() == 0


def test_every_form_of_the_page_takes_a_message(page: dict[str, Any]) -> None:
    with page["connection"].clone() as outside:
        channel = outside.default_channel
        forms = {"refund": page["on_refund"], "raw": page["on_raw"]}
        for name, callback in forms.items():
            queue = kombu.Queue(name)
            given = {"on_message": callback} if name == "raw" else {"callbacks": [callback]}
            with kombu.Consumer(channel, [queue], **given):
                outside.Producer().publish({"order": 1}, routing_key=name, message_id=name)
                outside.drain_events(timeout=WAIT_S)
            assert outcome(page, name) is None
    with running(page["Warehouse"]()):
        with page["connection"].clone() as outside:
            body, stock = {"order": 1}, kombu.Queue("stock")
            producer = outside.Producer()
            producer.publish(body, routing_key="stock", message_id="stock", declare=[stock])
        assert outcome(page, "stock") is None


def test_the_server_of_the_page_replies(page: dict[str, Any], vhost_url: str) -> None:
    with running(page["server"]):
        client = pika.BlockingConnection(pika.URLParameters(vhost_url))
        with contextlib.closing(client):
            channel = client.channel()
            reply_to = channel.queue_declare("", exclusive=True).method.queue
            asked = pika.BasicProperties(reply_to=reply_to, correlation_id="1")
            channel.basic_publish("", "prices", b'{"item": "book", "pieces": 2}', asked)
            reply = wait_until("the reply is there", lambda: channel.basic_get(reply_to)[2])
            assert json.loads(reply) == {"item": "book", "total": 6}


def test_the_version_of_kombu_is_the_one_the_page_names() -> None:
    named = ".".join(kombu.__version__.split(".")[:2])
    assert f"Tested with Kombu {named}," in PAGE.read_text(encoding="utf-8")
