"""What is to be written instead: for each line the command that does it durably."""

from __future__ import annotations

import ast

import pytest

from resonate_amqp.ext.scanning.rewrites import Rewriter
from tests.ext.scanning.texts import Texts


@pytest.mark.parametrize(
    ("statement", "written"),
    [
        ("add.delay(1, y=2)", ["yield ctx.detached(add, 1, y=2)"]),
        ("x = add.delay(1, 2).get(timeout=3)", ["x = yield ctx.rfc(add, 1, 2)"]),
        ("return add.delay(1, 2).get()", ["return (yield ctx.rfc(add, 1, 2))"]),
        ("r = add.delay(1, 2)\nr.get()", ["r = yield ctx.rfi(add, 1, 2)", "yield r"]),
        (
            "add.apply_async((1,), {'y': 2}, countdown=9, queue='fast', task_id='a')",
            ["yield ctx.detached(add, 1, y=2).options(target=\"celery://fast\", delay=9, id='a')"],
        ),
        ("add.apply_async(args=order)", ["yield ctx.detached(add, *order)"]),
        ("add.apply_async(task_id=str(uuid.uuid4()))", ["yield ctx.detached(add)"]),
        (
            "app.send_task('other', [1], kwargs=order)",
            ["yield ctx.detached('other', 1, **order).options(target=\"celery://routed\")"],
        ),
        ("add.s(1, 2).delay()", ["yield ctx.detached(add, 1, 2)"]),
        (
            "x = group(add.s(1, 2), add.si(3, 4))().get()",
            ["x = yield ctx.gather(ctx.rfc(add, 1, 2), ctx.rfc(add, 3, 4))"],
        ),
        (
            "group(add.s(n, n) for n in order).delay()",
            ["yield ctx.gather(*[ctx.rfc(add, n, n) for n in order])"],
        ),
        (
            "chain(add.s(1, 2), add.s(3), tell.si(4))()",
            [
                "value = yield ctx.rfc(add, 1, 2); value = yield ctx.rfc(add, value, 3); "
                "yield ctx.rfc(tell, 4)"
            ],
        ),
        (
            "(add.s(1, 2) | tell.s()).apply_async()",
            ["value = yield ctx.rfc(add, 1, 2); yield ctx.rfc(tell, value)"],
        ),
        (
            "x = chord([add.s(1, 2), add.s(3, 4)])(tell.s())",
            [
                "results = yield ctx.gather(ctx.rfc(add, 1, 2), ctx.rfc(add, 3, 4)); "
                "x = yield ctx.rfc(tell, results)"
            ],
        ),
        (
            "rs = [add.delay(n, 1) for n in order]\nsum(r.get() for r in rs)",
            ["rs = yield ctx.gather(*[ctx.rfc(add, n, 1) for n in order])", "r"],
        ),
        ("self.replace(add.s(1, 2))", ["return (yield ctx.rfc(add, 1, 2))"]),
        ("time.sleep(2 * 3)", ["yield ctx.sleep(2 * 3)"]),
        ("while order:\n    time.sleep(5)", ["yield ctx.sleep(5)"]),
        ("requests.post('a')", ["yield ctx.lfc(send_request, …)"]),
        ("order.save()", ["yield ctx.lfc(write_records, …)"]),
    ],
)
def test_each_line_has_a_durable_one(texts: Texts, statement: str, written: list[str]) -> None:
    assert texts.written(statement) == written


@pytest.mark.parametrize(
    "statement",
    [
        "x = add.apply_async((1,), {'y': 2}, countdown=9, queue='fast')",
        "x = group(add.s(n, n) for n in order)().get()",
        "x = chord([add.s(1, 2), add.s(3, 4)])(tell.s())",
        "x = (add.s(1, 2) | tell.s()).apply_async()",
        "return add.delay(*order, **self).get()",
        "rs = [add.delay(n, 1) for n in order if n]",
    ],
)
def test_what_is_written_for_calls_of_tasks_is_python(texts: Texts, statement: str) -> None:
    for written in texts.written(statement):
        ast.parse(f"def task(ctx, order):\n    {written}")


def test_a_step_names_what_the_function_does_and_where(texts: Texts) -> None:
    place = texts.function(
        """
        def task(connection, order):
            notify(connection, order)

        def notify(connection, order):
            requests.post("a", order)
        """
    )
    (act,) = texts.reader().read(place).acts
    step = Rewriter(place).step(act)
    assert step.line == act.line
    assert "notify(), which sends a request that may change something (texts.py:" in step.does
    assert "get connection elsewhere" in step.does
    assert step.write == "yield ctx.lfc(notify, order)"


def test_a_function_with_steps_of_its_own_is_yielded_from(texts: Texts) -> None:
    place = texts.function(
        """
        def task(order):
            receipt = handle(order)

        def handle(order):
            requests.post("a", order)
            add.delay(1, 2)
        """
    )
    (act,) = texts.reader().read(place).acts
    assert Rewriter(place).step(act).write == "receipt = yield from handle(ctx, order)"


def test_a_request_that_waits_for_its_reply_is_a_call_of_that_queue(texts: Texts) -> None:
    place = texts.function(
        """
        def task(connection, order):
            paid = ask(connection, "payments", order)

        def ask(connection, queue, request):
            producer.publish(request, routing_key=queue)
            with connection.SimpleQueue("replies") as replies:
                return replies.get(timeout=3)
        """
    )
    (act,) = texts.reader().read(place).acts
    assert Rewriter(place).step(act).write == (
        'paid = yield ctx.rfc("FUNCTION", order).options(target="queue://payments")'
    )
