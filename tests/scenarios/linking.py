"""A workflow that awaits two promises of other trees.

a: order ──▶ c: work, under an id of its own; then a promise that somebody else settles.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate
from tests.scenarios.journal import own_journal

journal = own_journal()
a = Resonate(group="service-a")


@a.register
def order(ctx: Context, number: int) -> Generator[Any, Any, list[Any]]:
    journal.began("order", ctx.id)
    made = yield ctx.rfc("work", number).options(target="service-c", id=f"order-{number}")
    said = yield ctx.get(f"approval-{number}")
    return [made, said]
