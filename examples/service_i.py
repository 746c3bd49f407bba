"""Service i: the other branch of the fan-out, an async function.

python examples/service_i.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

import asyncio

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-i")


@resonate.register
async def dop(ctx: Context, arg: int) -> int:
    await asyncio.sleep(0)
    return arg


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
