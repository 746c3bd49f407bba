"""`python -m tests.mutations`: plant faults drawn by a seed, and list those that nothing finds."""

from __future__ import annotations

import argparse
import difflib
import itertools
import queue
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.mutations.faults import Fault, faults_under
from tests.mutations.tracing import Trace, trace
from tests.mutations.tree import ROOT, Copy, copied
from tests.mutations.trial import Verdict, survivors_of_all, tried

FLOORS: dict[str, tuple[str, ...]] = {
    "core": ("core",),
    "server": ("server",),
    "runtime": ("runtime",),
    "adapters": ("brokers", "ledgers", "wire", "ext"),
}
AT_ONCE = 2


def main() -> int:
    """Answers 1 when there are survivors."""
    asked = _arguments()
    told = trace()
    drawn = [
        fault for floor in asked.floors for fault in _drawn(told, floor, asked.seed, asked.count)
    ]
    if asked.only:
        drawn = [fault for fault in drawn if any(part in fault.name for part in asked.only)]
    drawn = drawn[asked.skip :]
    if asked.list:
        for fault in drawn:
            print(_shown(fault))
        return 0
    with ExitStack() as stack:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for _ in range(AT_ONCE):
            copies.put(stack.enter_context(copied()))
        verdicts = list(_judged(copies, drawn, told))
        living = [one.fault for one in verdicts if not one.caught_by]
        print(f"{len(living)} live; the whole everyday part is run on them", flush=True)
        survivors = survivors_of_all(copies.get(), living, told) if not asked.quick else living
    _report(verdicts, survivors)
    return 1 if survivors else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=15, help="faults on each floor")
    parser.add_argument("--floors", nargs="+", choices=FLOORS, default=list(FLOORS))
    parser.add_argument("--skip", type=int, default=0, help="leave out so many, drawn first")
    parser.add_argument("--only", nargs="+", metavar="PART", help="those whose name holds a part")
    parser.add_argument("--list", action="store_true", help="print the faults and run nothing")
    parser.add_argument("--quick", action="store_true", help="only the tests that run a fault")
    return parser.parse_args()


def _drawn(told: Trace, floor: str, seed: int, count: int) -> list[Fault]:
    """So many faults of a floor, each as likely as any other."""
    faults = faults_under(ROOT, [f"resonate_amqp/{folder}" for folder in FLOORS[floor]])
    share = sum(not told.running(fault) for fault in faults) / len(faults)
    print(f"{floor}: {len(faults)} faults, {share:.1%} on lines that no everyday test runs")
    random.Random(f"{seed} {floor}").shuffle(faults)
    compiling = (fault for fault in faults if fault.compiles((ROOT / fault.path).read_bytes()))
    return list(itertools.islice(compiling, count))


def _judged(
    copies: queue.SimpleQueue[Copy], drawn: Sequence[Fault], told: Trace
) -> Iterator[Verdict]:
    def judge(fault: Fault) -> Verdict:
        copy = copies.get()
        try:
            return tried(copy, fault, told)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, verdict in enumerate(pool.map(judge, drawn), 1):
            end = f"caught by {verdict.caught_by}" if verdict.caught_by else "LIVES"
            print(f"{number}/{len(drawn)} {verdict.fault.name}: {end}", flush=True)
            yield verdict


def _shown(fault: Fault) -> str:
    """A fault as the lines it changes."""
    source = (ROOT / fault.path).read_bytes()
    before, after = source.decode().splitlines(), fault.planted(source).decode().splitlines()
    changed = difflib.unified_diff(before, after, lineterm="", n=1)
    return "\n".join([fault.name, *(f"    {line}" for line in list(changed)[3:])])


def _report(verdicts: Sequence[Verdict], survivors: Sequence[Fault]) -> None:
    tests = {verdict.fault: verdict.tests for verdict in verdicts}
    reached = [fault for fault in survivors if tests[fault]]
    caught = len(verdicts) - len(survivors)
    print(f"\n{caught} of {caught + len(reached)} faults were caught that an everyday test runs")
    for fault in survivors:
        what = f"survives {tests[fault]} tests" if tests[fault] else "no everyday test runs this"
        print(f"\n{what}:\n{_shown(fault)}")


if __name__ == "__main__":
    sys.exit(main())
