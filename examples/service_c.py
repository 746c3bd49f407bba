"""Service c: a leaf, a plain function that makes no durable call.

    python examples/service_c.py        (RESONATE_AMQP_URL names the broker)

BAZ_SECONDS makes it slow, so that there is time to kill another service meanwhile.
"""

from __future__ import annotations

import os
import time

from resonate_amqp import Context, Resonate, log_to_stderr

resonate = Resonate(url="env:RESONATE_AMQP_URL", group="service-c")


@resonate.register
def baz(ctx: Context) -> int:
    time.sleep(float(os.environ.get("BAZ_SECONDS", "0")))
    return 1


if __name__ == "__main__":
    log_to_stderr()
    resonate.serve()
