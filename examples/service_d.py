"""Service d: starts a function of another service and does not wait for it.

python examples/service_d.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-d")


@resonate.register
def qux(ctx: Context, arg: int) -> Generator[Any, Any, None]:
    # Yielding it answers as soon as the call is recorded, long before quz has run.
    yield ctx.detached("quz", arg + 1).options(target="poll://service-e")


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
