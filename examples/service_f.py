"""Service f: the end of the detached chain; it prints what it was given.

python examples/service_f.py        (RESONATE_AMQP_URL names the broker)
"""

from __future__ import annotations

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-f")


@resonate.register
def cog(ctx: Context, arg: int) -> None:
    print(arg, flush=True)


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
