"""Calls made one after the other while things break, and what has to be true of them afterwards."""

from __future__ import annotations

import base64
import itertools
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from resonate_amqp import Resonate
from resonate_amqp.errors import BrokerError, LedgerError
from tests.scenarios.system import System
from tests.scenarios.windows import PROMISES, ROUNDING_S

CALLERS = 8
LASTS_S = [0.0, 0.0, 0.0, 0.3, 1.5]
RESULT_S = 120.0

Results = dict[str, dict[str, str]]


class Load:
    """Eight callers of the chain, each of which waits for a result before it calls again."""

    def __init__(self, resonate: Resonate, seed: int) -> None:
        self._resonate = resonate.options(target="service-a")
        self._seed = seed
        self._ended = threading.Event()
        self._callers = ThreadPoolExecutor(CALLERS)
        self._calling = [self._callers.submit(self._call, number) for number in range(CALLERS)]

    def end(self) -> None:
        """Begin no more calls."""
        self._ended.set()
        self._callers.shutdown(wait=False)

    def results(self) -> Results:
        """By id, the results of all calls, once they are there."""
        self.end()
        return dict(itertools.chain.from_iterable(one.result() for one in self._calling))

    def _call(self, caller: int) -> list[tuple[str, dict[str, str]]]:
        draw = random.Random(self._seed * CALLERS + caller)
        found = []
        for number in itertools.count():
            if self._ended.is_set():
                break
            found.append(self._result(f"call-{caller}-{number}", draw.choice(LASTS_S)))
        return found

    def _result(self, promise_id: str, lasts_s: float) -> tuple[str, dict[str, str]]:
        """Call until it is known to be recorded, and wait for the result."""
        until = time.monotonic() + RESULT_S
        while True:
            try:
                handle = self._resonate.rpc(promise_id, "outer", lasts_s)
                return promise_id, handle.result(RESULT_S)
            except (BrokerError, LedgerError):
                assert time.monotonic() < until, f"{promise_id} is never recorded"


def reconcile(system: System, results: Results, strays: Collection[int] = ()) -> None:
    """Every promise settled once with what its caller got, and no step run after it was recorded.

    `strays` stood still for a while: such a process may run a step of long ago when it goes on,
    and nothing of it counts.
    """
    names = PROMISES["outer"]
    rows = system.query("SELECT id, state, value_data, settled_at FROM promises")
    values = {row[0]: json.loads(base64.b64decode(row[2])) for row in rows}
    assert {row[1] for row in rows} == {"resolved"}
    children = [one.removeprefix("chain") for one in names]
    assert set(values) == {call + child for call in results for child in children}
    for call, result in results.items():
        recorded: dict[str, Any] = {
            name: values[one.replace("chain", call)] for one, name in names.items()
        }
        assert recorded.pop("outer") == result
        assert recorded.pop("middle").items() <= result.items()
        assert recorded == result
    settled_at = {row[0]: row[3] / 1000 for row in rows}
    began = time.time() - time.monotonic()
    every = system.journal.runs()
    runs = [run for run in every if run.pid not in strays]
    late = [run for run in runs if began + run.at > settled_at[run.promise_id] + ROUNDING_S]
    assert late == [], late
    counts = Counter(run.promise_id for run in every)
    again = sum(count > 1 for count in counts.values())
    sys.stdout.write(f"{len(results)} chains; {again} of {len(counts)} steps ran again\n")
