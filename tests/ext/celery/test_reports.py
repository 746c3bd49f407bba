"""A revocation or a time limit rejects the promise of its own message, and no other."""

from __future__ import annotations

import queue
from collections.abc import Generator
from typing import Any

from celery import Celery
from celery.app.task import Context as Request
from celery.exceptions import TaskRevokedError

from resonate_amqp import Context, Resonate
from resonate_amqp.ext.celery import attempts, reports
from resonate_amqp.ext.celery.made import Made
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.resonate.embedded import Embedded
from resonate_amqp.runtime.claims import Claimed


def noted(what: str) -> str:
    return what


def test_a_promise_made_of_another_message_stays_as_it_is() -> None:
    with Embedded() as system, Resonate(system=system, group="shop") as resonate:

        @resonate.register(name="shop.note")
        def note(ctx: Context, what: str) -> Generator[Any, Any, Any]:
            yield (yield ctx.promise(id="approval"))

        told: queue.SimpleQueue[Claimed] = queue.SimpleQueue()
        digest = attempts.content_of("shop.note", (["a"], {}))
        resonate.claim("id-1", "shop.note", ("a",), {}, told=told.put, noted={"digest": digest})
        told.get(timeout=10)
        task = Celery("reports", set_as_current=False).task(name="shop.note", shared=False)(noted)
        made = Made(Shape(noted, None, generator=False), lambda _task: resonate)

        def revoke(what: str) -> bool:
            request = Request({"id": "id-1"})
            reports.reject(made, task, request, (what,), {}, TaskRevokedError("revoked"))
            reports.drain()
            return resonate.promises.get("id-1").pending

        assert revoke("b")
        assert not revoke("a")
