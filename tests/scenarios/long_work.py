"""What the workers of long work serve; each body writes to the journal when it begins.

h: leaves that last while their gate is closed, one that kills its process, and one that does not
w: workflows that wait for somebody outside, or sleep
r: recursion on its own group, and a leaf beside it
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate
from tests.scenarios.journal import own_journal

Workflow = Generator[Any, Any, Any]

journal = own_journal()
h = Resonate(group="service-h")
w = Resonate(group="service-w")
r = Resonate(group="service-r")


@h.register
def long(ctx: Context, number: int) -> int:
    journal.began("long", ctx.id)
    journal.pass_gate("long")
    return 2 * number


@h.register
def poison(ctx: Context) -> None:
    journal.began("poison", ctx.id)
    os.kill(os.getpid(), signal.SIGKILL)


@h.register
def neighbour(ctx: Context, number: int) -> int:
    journal.began("neighbour", ctx.id)
    return 2 * number


@w.register
def waits(ctx: Context, number: int) -> Workflow:
    journal.began("waits", ctx.id)
    promised = yield ctx.promise()
    return number + (yield promised)


@w.register
def sleeps(ctx: Context, seconds: int) -> Workflow:
    journal.began("sleeps", ctx.id)
    yield ctx.lfc(note)
    yield ctx.sleep(seconds)
    yield ctx.lfc(note)
    return seconds


def note(ctx: Context) -> None:
    journal.began("note", ctx.id)


@r.register
def depth(ctx: Context, number: int) -> Workflow:
    if not number:
        return 0
    below = yield ctx.rfc("depth", number - 1)
    return below + 1


@r.register
def beside(ctx: Context, number: int) -> int:
    journal.began("beside", ctx.id)
    journal.pass_gate("beside")
    return number
