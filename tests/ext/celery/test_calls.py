"""What a task's workflow asks of Celery tasks, before it is recorded."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery
from kombu.utils.json import dumps, loads

from resonate_amqp import Encoding
from resonate_amqp.ext.celery.calls import adapt
from resonate_amqp.runtime.commands import Invoke, Mode


def adapted(func: Any, *args: Any, target: str | None = None, **kwargs: Any) -> Invoke:
    command = Invoke("order-1:1", Mode.RFC, func, args, kwargs).options(target=target)
    adapt(command)
    return command


def test_a_call_in_a_celery_queue_carries_what_a_message_of_celery_does() -> None:
    command = adapted(
        "charge", Decimal("1.5"), {1: None}, target="celery://q", day=date(2026, 1, 2)
    )
    assert loads(dumps(command.args)) == [Decimal("1.5"), {"1": None}]
    assert loads(dumps(command.kwargs)) == {"day": date(2026, 1, 2)}


def test_a_call_of_another_kind_is_left_alone() -> None:
    assert adapted("charge", Decimal("1.5"), target="poll://any@shop").args == (Decimal("1.5"),)


def test_what_kombu_does_not_carry_is_named_by_its_place() -> None:
    with pytest.raises(Encoding, match=r"args\[0\]\.items"):
        adapted("charge", {"items": {1, 2}}, target="celery://q")


def test_a_task_as_an_object_is_called_by_its_name_in_the_queue_it_is_routed_to() -> None:
    app = Celery("calls", set_as_current=False)
    app.conf.task_routes = {"shop.charge": "payments", "shop.pack": {"queue": "ware house"}}

    @app.task(name="shop.charge", shared=False)
    def charge() -> None: ...

    @app.task(name="shop.pack", shared=False)
    def pack() -> None: ...

    for task, name, target in (
        (charge, "shop.charge", "celery://payments"),
        (pack, "shop.pack", "celery://ware%20house"),
    ):
        command = adapted(task)
        assert (command.func, command.target) == (name, target)
    assert adapted(charge, target="celery://other").target == "celery://other"
