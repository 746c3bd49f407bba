"""One service of the demo as a process of its own: `python -m resonate_amqp.dev.demo.service b`.

While the file named by GATE exists, c's body waits: that is when the demo kills b.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from resonate_amqp.dev.demo.lines import Lines
from resonate_amqp.dev.demo.services import register
from resonate_amqp.resonate import Resonate
from resonate_amqp.telemetry.logs import log_to_stderr

GATE = "RESONATE_AMQP_DEMO_GATE"
READY = "ready"
LONGEST_S = 30.0


def main(letter: str) -> None:
    """Serve one of the nine services until SIGTERM; `letter` names it."""
    log_to_stderr("critical")
    name = f"service-{letter}"
    lines = Lines(begins=True)
    resonate = Resonate(group=name, grace=1, telemetry=lines.of(name))

    def pause(where: str) -> None:
        gate = Path(os.environ[GATE])
        until = time.monotonic() + LONGEST_S
        while where == "c" and gate.exists() and time.monotonic() < until:
            time.sleep(0.02)

    register(resonate, letter, pause, lambda text: lines.line(name, "", text))
    lines.line(name, "", READY)
    resonate.serve()


if __name__ == "__main__":
    main(sys.argv[1])
