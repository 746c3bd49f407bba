"""Service e: a call that is built and never yielded starts when the function returns.

python examples/service_e.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-e")


@resonate.register
def quz(ctx: Context, arg: int) -> None:
    # Without yield the call is recorded together with the result of quz: both or neither.
    ctx.rfi("cog", arg + 1).options(target="poll://service-f")


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
