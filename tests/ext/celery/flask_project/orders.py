"""A blueprint with tasks; nothing here knows the Celery app, which is made later."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from celery import current_app as celery_app
from celery import shared_task
from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue

from resonate_amqp import Context
from resonate_amqp.ext.celery import DurableTask, durable, from_celery

blueprint = Blueprint("orders", __name__)
resonate = from_celery(celery_app)


@shared_task(base=DurableTask)
def charge(order: str, amount: int) -> str:
    return f"{order}: {amount} {current_app.config['CURRENCY']}"


@shared_task
@durable()
def pack(order: str) -> str:
    return f"parcel of {order} by {current_app.name.rpartition('.')[2]}"


@shared_task
@durable(resonate)
def fulfil(ctx: Context, order: str) -> Generator[Any, Any, list[str]]:
    currency = current_app.config["CURRENCY"]
    charged = yield ctx.rfc(charge, order, 7)
    packed = yield ctx.rfc(pack, order)
    assert current_app.config["CURRENCY"] == currency
    site = yield ctx.lfc(where)
    return [charged, packed, site]


def where(_ctx: Context) -> str:
    return f"from {current_app.name.rpartition('.')[2]}"


@blueprint.post("/orders/<order>")
def order(order: str) -> ResponseReturnValue:
    sent = fulfil.delay(order)
    return jsonify(sent.get(timeout=30))


@blueprint.get("/promises/<promise_id>")
def promise(promise_id: str) -> ResponseReturnValue:
    return jsonify(resonate.promises.get(promise_id).state)
