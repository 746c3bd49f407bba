"""Service g: starts two functions in two services at once, then waits for both.

python examples/service_g.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-g")


@resonate.register
def zim(ctx: Context, arg: int) -> Generator[Any, Any, int]:
    # Yielding an rfi answers a promise; yielding the promise answers its value.
    at_h = yield ctx.rfi("rax", arg).options(target="poll://service-h")
    at_i = yield ctx.rfi("dop", arg).options(target="poll://service-i")
    from_h: int = yield at_h
    from_i: int = yield at_i
    return arg + from_h + from_i


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
