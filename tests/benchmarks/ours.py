"""One durable hop of the product: `callee`, or `caller N S`.

The caller is a durable workflow that calls `b` of another process, over and over; N of them run
at once. The address of the broker comes by RESONATE_AMQP_URL.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate


def callee() -> None:
    resonate = Resonate(group="bench-b", prefetch=512, grace=1)

    @resonate.register
    def b(_ctx: Context) -> None:
        return

    resonate.serve()


def caller(in_flight: int, seconds: float) -> None:
    """Print one JSON line: calls per second and latencies in ms."""
    resonate = Resonate(group="bench-a", prefetch=512, grace=1)
    took: list[float] = []

    @resonate.register
    def a(ctx: Context, until: float) -> Generator[Any, Any, None]:
        while time.time() < until:
            began = time.perf_counter()
            yield ctx.rfc("b").options(target="bench-b")
            took.append(time.perf_counter() - began)

    resonate.start()
    prefix = os.urandom(4).hex()
    resonate.options(target="bench-b").rpc(f"{prefix}-warm", "b").result(30)
    until = time.time() + seconds
    handles = [resonate.rpc(f"{prefix}-{number}", a, until) for number in range(in_flight)]
    for handle in handles:
        handle.result(seconds + 30)
    resonate.stop()
    print(json.dumps({"seconds": seconds, "took_ms": [round(one * 1000, 3) for one in took]}))


if __name__ == "__main__":
    if sys.argv[1] == "callee":
        callee()
    else:
        caller(int(sys.argv[2]), float(sys.argv[3]))
