"""The chain that is broken at every window, and the program that serves the unbroken part of it.

a: outer (steps before, after) ──▶ b: middle (steps prepare, conclude) ──▶ c: leaf
a: linked (steps before, after) ──▶ c: leaf, under an id of its own

    python -m tests.scenarios.chain LETTERS [STANDBY]

serves the groups of LETTERS, and those of STANDBY as soon as the gate `standby` is open. Every
step answers a token of its own, and the chain's result is all of them: a step that was recorded
once and repeated elsewhere would show. The leaf takes as many seconds as the chain is called with.
"""

from __future__ import annotations

import secrets
import signal
import sys
import threading
import time
from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate
from tests.scenarios.journal import own_journal

Workflow = Generator[Any, Any, dict[str, str]]

journal = own_journal()
a = Resonate(group="service-a")
b = Resonate(group="service-b")
c = Resonate(group="service-c")


@a.register
def outer(ctx: Context, seconds: float = 0.0) -> Workflow:
    first = yield ctx.lfc(before)
    below = yield ctx.rfc("middle", seconds).options(target="poll://any@service-b")
    last = yield ctx.lfc(after)
    return {"before": first, **below, "after": last}


@a.register
def linked(ctx: Context) -> Workflow:
    first = yield ctx.lfc(before)
    below = yield ctx.rfc("leaf").options(target="poll://any@service-c", id="elsewhere")
    last = yield ctx.lfc(after)
    return {"before": first, "leaf": below, "after": last}


@b.register
def middle(ctx: Context, seconds: float) -> Workflow:
    first = yield ctx.lfc(prepare)
    below = yield ctx.rfc("leaf", seconds).options(target="poll://any@service-c")
    last = yield ctx.lfc(conclude)
    return {"prepare": first, "leaf": below, "conclude": last}


def step(name: str, ctx: Context) -> str:
    journal.began(name, ctx.id)
    journal.pass_gate(name)
    return secrets.token_hex(4)


def before(ctx: Context) -> str:
    return step("before", ctx)


def after(ctx: Context) -> str:
    return step("after", ctx)


def prepare(ctx: Context) -> str:
    return step("prepare", ctx)


def conclude(ctx: Context) -> str:
    return step("conclude", ctx)


@c.register
def leaf(ctx: Context, seconds: float = 0.0) -> str:
    time.sleep(seconds)
    return step("leaf", ctx)


def main(letters: str, standby: str = "") -> None:
    """Serve until SIGTERM, then park and stop."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    served = {"a": a, "b": b, "c": c}
    for letter in letters:
        served[letter].start()
    if standby:
        journal.pass_gate("standby")
        for letter in standby:
            served[letter].start()
    stopping.wait()
    for letter in letters + standby:
        served[letter].stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
