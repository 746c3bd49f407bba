"""The durability tax: the same consumer and the same task, with and without the decorator.

    python -m tests.benchmarks.tax [--runs 5] [--messages 500]

Both sides of each pair run in turn on one private broker (or RESONATE_AMQP_TEST_URL), with the
same queues and messages. The ledger runs beside both, on SQLite with synchronous=FULL. Everything
shares the machine, so only the ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from resonate_amqp.dev.choose import choose
from tests.benchmarks.hop import command, running, spread

ROOT = Path(__file__).parents[2]
KINDS = ("plain", "durable")
PAIRS = {
    "a kombu callback, one consumer": ["consume", "{messages}"],
    "a celery task, one prefork slot, 1 in flight": ["call", "{messages}", "1"],
    "a celery task, one prefork slot, 64 in flight": ["call", "{messages}", "64"],
}
WORKER = ["-A", "tests.benchmarks.taxed", "worker", "-P", "prefork", "-c", "1", "-Q", "tax"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--only", default="", help="a part of the titles to be measured")
    given = parser.parse_args()
    broker = choose()
    try:
        for title, load in PAIRS.items():
            if given.only not in title:
                continue
            load = [part.format(messages=given.messages) for part in load]
            rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for _ in range(given.runs):
                for kind in KINDS:
                    url = broker.new_vhost()
                    rates[kind].append(given.messages / seconds_of(kind, url, load))
                    broker.discard_vhost(url)
            report(title, rates)
    finally:
        broker.stop()


def seconds_of(kind: str, url: str, load: list[str]) -> float:
    """How long one side took for its messages, in a virtual host of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tax-")))
        environment = dict(os.environ) | {
            "PYTHONPATH": str(ROOT),
            "RESONATE_AMQP_URL": url,
            "RESONATE_AMQP_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            "TAX_KIND": kind,
        }
        stack.enter_context(running(["-m", "ledger"], environment))
        if load[0] == "call":
            worker = [sys.executable, "-m", "celery", *WORKER, "-l", "error"]
            stack.callback(end, subprocess.Popen(worker, env=environment))
        done = subprocess.run(
            command(["taxed.py", *load]),
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
            timeout=300,
        )
        seconds: float = json.loads(done.stdout.splitlines()[-1])["seconds"]
        return seconds


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def report(title: str, rates: dict[str, list[float]]) -> None:
    print(f"\n{title}\n{'':<9}{'messages/s':>24}{'ms a message':>24}")
    for kind in KINDS:
        each = [1000 / rate for rate in rates[kind]]
        print(f"{kind:<9}{spread(rates[kind], 0):>24}{spread(each, 2):>24}")
    pairs = zip(rates["plain"], rates["durable"], strict=True)
    ratios = [durable / plain for plain, durable in pairs]
    extra = 1000 / median(rates["durable"]) - 1000 / median(rates["plain"])
    print(f"durable / plain: rate {spread(ratios, 2)}, {extra:+.2f} ms a message", flush=True)


if __name__ == "__main__":
    main()
