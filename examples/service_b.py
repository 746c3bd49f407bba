"""Service b: the middle of the chain, and the one that recovery.py kills.

python examples/service_b.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-b")


@resonate.register
def bar(ctx: Context) -> Generator[Any, Any, int]:
    # A bar that starts again gets c's recorded result here; c is not called a second time.
    result: int = yield ctx.rfc("baz").options(target="poll://service-c")
    return result + 1


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
