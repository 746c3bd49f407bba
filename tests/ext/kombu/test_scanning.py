"""A scan of a module with Kombu consumers: grades, warnings with lines, and the diff."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from resonate_amqp.ext.kombu.scanning import scan
from resonate_amqp.ext.scanning.findings import Grade, Graded, Report
from resonate_amqp.ext.scanning.sources import Project
from tests.docs.markdown import ROOT

HEAD = """
import time
import uuid

import requests
from kombu import Connection, Consumer, Exchange, Queue
from kombu.common import Broadcast
from kombu.mixins import ConsumerMixin

connection = Connection("amqp://localhost//")
raise SystemExit("a scan imports this")
"""
CALLBACK = """
def on_order(body, message):
    {body}

with connection.channel() as channel:
    with Consumer(channel, [Queue("orders")], callbacks=[on_order]):
        connection.drain_events()
"""


class Module:
    """A module of a folder that is scanned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def scan(self, text: str, head: str = HEAD) -> Report:
        path = self.folder / "consumers.py"
        path.write_text(head + textwrap.dedent(text), encoding="utf-8")
        project = Project(self.folder)
        source = project.source(path, "consumers")
        assert source is not None
        report = scan(source, project)
        assert report is not None
        return report

    def callback(self, *statements: str) -> Graded:
        """The callback with these statements."""
        (graded,) = self.scan(CALLBACK.format(body="\n    ".join(statements))).graded
        return graded


@pytest.fixture
def module(tmp_path: Path) -> Module:
    return Module(tmp_path)


def warned(graded: Graded) -> str:
    """What is said of a callback, with lines counted from its own."""
    return "\n".join(f"{one.line - graded.line}: {one.text}" for one in graded.warnings)


@pytest.mark.parametrize(
    ("name", "callback", "grade"),
    [
        ("mail", "Mail.on_letter", Grade.DECORATE),
        ("orders", "Orders.on_order", Grade.STEPS),
        ("payments", "Payments.on_charge", Grade.STEPS),
        ("warehouse", "Warehouse.on_pack", Grade.STEPS),
    ],
)
def test_the_consumers_of_the_examples_are_graded(name: str, callback: str, grade: Grade) -> None:
    project = Project(ROOT)
    source = project.module(f"examples.kombu_shop.before.{name}")
    assert source is not None
    report = scan(source, project)
    assert report is not None
    (graded,) = report.graded
    assert graded.name == f"examples.kombu_shop.before.{name}.{callback}"
    assert graded.grade is grade
    assert report.facts["queues"] == name
    assert bool(report.diff) == (grade is Grade.DECORATE)


def test_the_steps_of_the_orders_are_those_of_the_example_s_after() -> None:
    project = Project(ROOT)
    source = project.module("examples.kombu_shop.before.orders")
    assert source is not None
    report = scan(source, project)
    assert report is not None
    assert [step.write for step in report.graded[0].steps] == [
        'paid = yield ctx.rfc("FUNCTION", body).options(target="queue://payments")',
        'sent = yield ctx.rfc("FUNCTION", body).options(target="queue://warehouse")',
        "yield ctx.lfc(write, body, paid, sent)",
    ]


def test_what_is_after_in_the_examples_is_durable_already() -> None:
    project = Project(ROOT)
    source = project.module("examples.kombu_shop.after.mail")
    assert source is not None
    report = scan(source, project)
    assert report is not None
    (graded,) = report.graded
    assert (graded.grade, graded.reasons) == (Grade.LEAVE, ["it is durable already"])
    assert report.diff == ""


def test_callbacks_are_found_in_every_form(module: Module) -> None:
    report = module.scan(
        """
        def free(body, message): ...
        def late(body, message): ...
        def raw(message): ...

        class Base(ConsumerMixin):
            def inherited(self, body, message): ...

        class Worker(Base):
            def get_consumers(self, Consumer, channel):
                return [
                    Consumer([Queue("a")], callbacks=[self.own, self.inherited]),
                    Consumer(queues=[Queue("b")], on_message=self.message),
                ]

            def own(self, body, message): ...
            def message(self, message): ...

        consumer = connection.Consumer([Queue("c")], callbacks=(free, lambda body, message: 1))
        consumer.register_callback(late)
        consumer.on_message = raw
        """
    )
    names = [one.name.removeprefix("consumers.") for one in report.graded]
    assert names == [
        "free",
        "late",
        "raw",
        "Base.inherited",
        "Worker.own",
        "Worker.message",
        "lambda body, message: 1",
    ]
    assert [one.grade for one in report.graded] == [Grade.DECORATE] * 6 + [Grade.LEAVE]
    assert "durable(resonate, name='…')" in report.graded[-1].reasons[0]
    assert report.facts["queues"] == "a, b, c"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Consumer(channel, [], no_ack=True, callbacks=[f])\ndef f(b, m): ...", "no_ack=True"),
        ("Consumer(channel, [], True, None, [f])\ndef f(b, m): ...", "no_ack=True"),
        ("Consumer(channel, [], callbacks=[f])\nasync def f(b, m): ...", "async function"),
        ("Consumer(channel, [], callbacks=[f])\ndef f(ctx, b, m): ...", "is called ctx"),
        ("Consumer(channel, [], callbacks=[partial(f, 1)])\ndef f(a, b, m): ...", "no function"),
        (
            "class C:\n    def get(self): Consumer([], callbacks=[self.f])\n"
            "    @staticmethod\n    def f(b, m): ...",
            "static or class method",
        ),
        (
            "from resonate_amqp.ext.kombu import durable\n@durable(r)\nclass C(ConsumerMixin):\n"
            "    def get_consumers(self, Consumer, c): return [Consumer([], callbacks=[self.f])]\n"
            "    def f(self, b, m): ...",
            "durable already",
        ),
    ],
)
def test_what_cannot_be_durable_is_left_with_the_reason(
    module: Module, text: str, why: str
) -> None:
    (graded,) = module.scan(text).graded
    assert graded.grade is Grade.LEAVE
    assert why in " ".join(graded.reasons)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["message.ack(multiple=True)"], "1: ack(multiple=True) is refused"),
        (["message.ack()", "requests.post('a')"], "1: acknowledges before its work"),
        (["message.reject()"], "1: rejects: where a dead-letter route leads back"),
        (["message.requeue()"], "1: puts the message back at once"),
        (["message.reject(requeue=True)"], "1: puts the message back at once"),
        (
            ["producer.publish(body, message_id=message.properties['message_id'])"],
            "1: sends on under the id of the message it has",
        ),
        (["producer.publish(body, **message.properties)"], "1: sends on under the id"),
        (["requests.post('a', key=uuid.uuid4())"], "1: uuid.uuid4() is another value each time"),
        (
            ["try:", "    work()", "except Exception:", "    message.ack()"],
            "3: acknowledges what failed",
        ),
        (["body['order_id']"], "id=lambda body, message: f\"order-{body['order_id']}\""),
        (["pass"], "0: a message without message_id runs at least once"),
    ],
)
def test_what_means_something_else_once_it_is_durable_is_named_with_its_line(
    module: Module, statements: list[str], said: str
) -> None:
    assert said in warned(module.callback(*statements))


def test_an_ack_after_the_work_is_not_named(module: Module) -> None:
    graded = module.callback("requests.post('a')", "message.ack()")
    assert graded.grade is Grade.DECORATE
    assert len(graded.warnings) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Connection('redis://localhost')", "the connection is redis://, not RabbitMQ"),
        ("Exchange('news', type='fanout')", "a fanout exchange"),
        ("Broadcast('news')", "a fanout exchange"),
        ("Queue('q', queue_arguments={'x-queue-type': 'quorum'})", "a quorum queue"),
        ("connection.Producer().publish({})", "publishes without message_id="),
        ("Consumer(channel, [], callbacks=[f], accept=['pickle'])", "accept= lacks 'json'"),
        ("Consumer(channel, [], callbacks=[f, g])", "2 callbacks in one list"),
    ],
)
def test_what_matters_of_connections_and_queues_is_named(
    module: Module, line: str, said: str
) -> None:
    report = module.scan(
        f"def f(b, m): ...\ndef g(b, m): ...\nConsumer(channel, [], callbacks=[f])\n{line}\n"
    )
    (remark,) = report.warnings
    assert said in remark.text
    assert remark.line == 15


def test_the_diff_makes_a_callback_durable(tmp_path: Path) -> None:
    (tmp_path / "examples" / "kombu_shop").mkdir(parents=True)
    before = ROOT / "examples" / "kombu_shop" / "before" / "mail.py"
    (tmp_path / "mail.py").write_text(before.read_text(encoding="utf-8"), encoding="utf-8")
    project = Project(tmp_path)
    source = project.module("mail")
    assert source is not None
    report = scan(source, project)
    assert report is not None
    subprocess.run(["patch", "-p1", "-s"], cwd=tmp_path, input=report.diff, text=True, check=True)
    show = "import mail; print(repr(mail.Mail.on_letter), mail.resonate.settings.group)"
    ran = subprocess.run(
        [sys.executable, "-c", show],
        cwd=tmp_path,
        env={"BROKER_URL": "amqp://nobody.invalid//", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "<durable callback 'Mail.on_letter'> mail\n"


def test_a_connection_that_is_made_elsewhere_is_named_by_the_environment(module: Module) -> None:
    report = module.scan(
        """
        def on_order(body, message): ...

        def main(connection):
            connection.Consumer([Queue("orders")], callbacks=[on_order])
        """,
        head="from kombu import Queue\n",
    )
    assert [line for line in report.diff.splitlines() if line.startswith("+") and line != "+"][
        1:
    ] == [
        "+import os",
        "+from resonate_amqp import Resonate",
        "+from resonate_amqp.ext.kombu import durable",
        '+resonate = Resonate(os.environ["RESONATE_AMQP_URL"], group="consumers")',
        "+@durable(resonate)",
    ]


def test_a_module_without_consumers_has_no_report(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("def f(): ...\n", encoding="utf-8")
    project = Project(tmp_path)
    source = project.module("plain")
    assert source is not None
    assert scan(source, project) is None
