"""Service a: a durable function that calls another service and waits for its result.

python examples/service_a.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-a")


@resonate.register
def foo(ctx: Context) -> Generator[Any, Any, int]:
    # While b works, foo only waits: if this process dies now, the next one goes on from here.
    result: int = yield ctx.rfc("bar").options(target="poll://service-b")
    return result + 1


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
