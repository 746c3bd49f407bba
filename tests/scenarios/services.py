"""What the workers of the scenarios serve; each body writes to the journal when it begins.

a: foo ──▶ b: bar (local step: note) ──▶ c: baz, and the result is 3.
a: twice ──▶ c: work
f: fib ──▶ fib of its own group
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate
from tests.scenarios.journal import own_journal

Workflow = Generator[Any, Any, Any]

journal = own_journal()
a = Resonate(group="service-a")
b = Resonate(group="service-b")
c = Resonate(group="service-c")
f = Resonate(group="service-f")


@a.register
def foo(ctx: Context) -> Workflow:
    journal.began("foo", ctx.id)
    result = yield ctx.rfc("bar").options(target="poll://any@service-b")
    return result + 1


@b.register
def bar(ctx: Context) -> Workflow:
    journal.began("bar", ctx.id)
    yield ctx.lfc(note)
    result = yield ctx.rfc("baz").options(target="poll://any@service-c")
    return result + 1


def note(ctx: Context) -> None:
    journal.began("note", ctx.id)


@c.register
def baz(ctx: Context) -> int:
    journal.began("baz", ctx.id)
    journal.pass_gate("baz")
    return 1


@a.register
def twice(ctx: Context, number: int) -> Workflow:
    journal.began("twice", ctx.id)
    result = yield ctx.rfc("work", number).options(target="poll://any@service-c")
    return result


@c.register
def work(ctx: Context, number: int) -> int:
    journal.began("work", ctx.id)
    journal.pass_gate("work")
    return 2 * number


@f.register
def fib(ctx: Context, number: int) -> Workflow:
    if number < 2:
        journal.began("leaf", ctx.id)
        return number
    journal.began("inner", ctx.id)
    one = yield ctx.rfc("fib", number - 1)
    other = yield ctx.rfc("fib", number - 2)
    return one + other
