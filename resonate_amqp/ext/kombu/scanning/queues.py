"""Queues: what a module says of its connections, queues and consumers, where that matters."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from resonate_amqp.ext.kombu.scanning.consumers import Consumer
from resonate_amqp.ext.scanning.findings import Remark
from resonate_amqp.ext.scanning.sources import Source

_AMQP = ("amqp", "amqps", "pyamqp", "librabbitmq")


def warnings(source: Source, consumers: list[Consumer]) -> list[Remark]:
    """What of a module to change or to know before a callback of it is durable."""
    found = [*_of_calls(source)]
    for consumer in consumers:
        found += _of_consumer(consumer)
    return sorted(found, key=lambda one: one.line)


def _of_consumer(consumer: Consumer) -> Iterator[Remark]:
    match consumer.options.get("accept"):
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts) if elts and not any(
            "json" in ast.unparse(one) for one in elts
        ):
            yield Remark(
                "accept= lacks 'json': what this consumer takes has to be what Kombu's JSON "
                "carries, since that is what is recorded",
                consumer.line,
            )
    if len(consumer.callbacks) > 1:
        yield Remark(
            f"{len(consumer.callbacks)} callbacks in one list: decorate all or none of those that "
            "settle the message; each is an execution of its own, in this order",
            consumer.line,
        )


def _of_calls(source: Source) -> Iterator[Remark]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name, text = source.dotted(node.func), ast.unparse(node)
        own = name.rpartition(".")[2]
        if own == "Connection" and (scheme := _scheme(node)) not in ("", *_AMQP):
            yield Remark(
                f"the connection is {scheme}://, not RabbitMQ: Resonate.from_kombu needs one of "
                "RabbitMQ; give Resonate a url= of its own",
                node.lineno,
            )
        elif own == "Broadcast" or (own == "Exchange" and _is_fanout(node)):
            yield Remark(
                "a fanout exchange: each queue gets a copy under one message_id. Without id= each "
                "group and function runs its own; an id= has to name the service too",
                node.lineno,
            )
        elif own == "Queue" and "'x-queue-type': 'quorum'" in text:
            yield Remark(
                "a quorum queue: RabbitMQ from 4.0 on drops or dead-letters a message after 20 "
                "rejects with requeue; set a policy with delivery-limit (-1: none), or a "
                "dead-letter exchange",
                node.lineno,
            )
        elif isinstance(node.func, ast.Attribute) and _is_sent_without_id(node):
            yield Remark(
                "publishes without message_id=: where a durable callback takes it, it runs at "
                "least once; give message_id=, or the callback an id=",
                node.lineno,
            )


def _scheme(call: ast.Call) -> str:
    given = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "hostname")]
    for one in given:
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and "://" in one.value:
            return one.value.partition("://")[0]
    return ""


def _is_fanout(call: ast.Call) -> bool:
    given = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "type")]
    return any(isinstance(one, ast.Constant) and one.value == "fanout" for one in given)


def _is_sent_without_id(call: ast.Call) -> bool:
    """Whether a message is published with neither an id nor options that may hold one."""
    if ast.unparse(call.func).rpartition(".")[2] not in ("publish", "basic_publish"):
        return False
    return not any(one.arg in (None, "message_id", "properties") for one in call.keywords)
