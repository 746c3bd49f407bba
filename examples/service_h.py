"""Service h: one branch of the fan-out.

python examples/service_h.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-h")


@resonate.register
def rax(ctx: Context, arg: int) -> int:
    return arg


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
