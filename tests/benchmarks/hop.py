"""One durable hop beside a bare pika RPC and the sketch, interleaved, on this machine.

    python -m tests.benchmarks.hop [--runs 5] [--seconds 3] [--queue-type quorum]

Everything (load, workers, broker, ledger on SQLite with synchronous=FULL) shares the machine, so
only the ratios mean something. A private broker is used, or RESONATE_AMQP_TEST_URL.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from resonate_amqp.dev.choose import choose

HERE = Path(__file__).parent
SYSTEMS = ("bare", "sketch", "ours")
START_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--queue-type", default="quorum", choices=("quorum", "classic"))
    parser.add_argument("--in-flight", type=int, nargs="*", default=[1, 64])
    given = parser.parse_args()
    broker = choose()
    try:
        for in_flight in given.in_flight:
            runs: dict[str, list[list[float]]] = {system: [] for system in SYSTEMS}
            for _ in range(given.runs):
                for system in SYSTEMS:
                    url = broker.new_vhost()
                    took = measure(system, url, in_flight, given.seconds, given.queue_type)
                    runs[system].append(took)
                    broker.discard_vhost(url)
            report(in_flight, given.queue_type, given.seconds, runs)
    finally:
        broker.stop()


def measure(system: str, url: str, in_flight: int, seconds: float, queue_type: str) -> list[float]:
    """Latencies in ms of one run of one system, in a virtual host of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hop-")))
        environment = dict(os.environ)
        load = [str(in_flight), str(seconds)]
        if system == "bare":
            environment |= {"BARE_URL": url, "BARE_QUEUE_TYPE": queue_type}
            sides, client = [["bare.py", "server"]], ["bare.py", "client", *load]
        elif system == "sketch":
            environment |= {
                "SKETCH_URL": url,
                "SKETCH_DB": str(folder / "sketch.db"),
                "SKETCH_QUEUE_TYPE": queue_type,
            }
            sides = [["sketch.py", "ledger"], ["sketch.py", "callee"]]
            client = ["sketch.py", "caller", *load]
        else:
            environment |= {
                "RESONATE_AMQP_URL": url,
                "RESONATE_AMQP_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
                "RESONATE_AMQP_QUEUE_TYPE": queue_type,
            }
            sides = [["-m", "ledger"], ["ours.py", "callee"]]
            client = ["ours.py", "caller", *load]
        for side in sides:
            stack.enter_context(running(side, environment))
        time.sleep(START_S)
        done = subprocess.run(
            command(client), env=environment, stdout=subprocess.PIPE, check=True, timeout=120
        )
        took: list[float] = json.loads(done.stdout.splitlines()[-1])["took_ms"]
        return took


@contextmanager
def running(side: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command(side), env=environment)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def command(side: list[str]) -> list[str]:
    if side[0] == "-m":
        serve = ["-m", "resonate_amqp", "ledger", "serve", "--log-level", "error"]
        return [sys.executable, *serve]
    return [sys.executable, str(HERE / side[0]), *side[1:]]


def report(
    in_flight: int, queue_type: str, seconds: float, runs: dict[str, list[list[float]]]
) -> None:
    """Medians over the runs, with their spread, and the ratios to the sketch, run by run."""
    print(f"\n{in_flight} in flight, {queue_type} callee queue, {seconds:g} s a run")
    print(f"{'':<8}{'calls/s':>22}{'p50 ms':>22}{'p99 ms':>22}")
    for system in SYSTEMS:
        rates = [len(took) / seconds for took in runs[system]]
        p50 = [quantile(took, 0.5) for took in runs[system]]
        p99 = [quantile(took, 0.99) for took in runs[system]]
        print(f"{system:<8}{spread(rates, 0):>22}{spread(p50, 2):>22}{spread(p99, 2):>22}")
    pairs = list(zip(runs["ours"], runs["sketch"], strict=True))
    rate = [len(ours) / len(sketch) for ours, sketch in pairs]
    p50 = [quantile(ours, 0.5) / quantile(sketch, 0.5) for ours, sketch in pairs]
    print(f"ours / sketch: rate {spread(rate, 2)}, p50 {spread(p50, 2)}")


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def spread(values: list[float], digits: int) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


if __name__ == "__main__":
    main()
