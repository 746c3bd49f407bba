"""Windows: where a process of the chain may break, and a chain in which one process does.

What has to hold afterwards is the same wherever it broke, and however: the result is right and
is what was recorded, no step ran again once it was recorded, and nothing is left over.
"""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from resonate_amqp import Resonate
from resonate_amqp.ports import Failpoint
from resonate_amqp.resonate.failpoints import Fate, Mishap
from resonate_amqp.runtime.handle import Handle
from tests.scenarios.system import WAIT_S, Process, System, wait_until

LEDGER = "ledger"
STEPS = ["before", "prepare", "leaf", "conclude", "after"]
PROMISES = {
    "outer": {
        "chain": "outer",
        "chain:1": "before",
        "chain:2": "middle",
        "chain:2.1": "prepare",
        "chain:2.2": "leaf",
        "chain:2.3": "conclude",
        "chain:3": "after",
    },
    "linked": {
        "chain": "linked",
        "chain:1": "before",
        "chain:2": "mirror",
        "chain:3": "after",
        "elsewhere": "leaf",
    },
}
"""By function called, the promises of its trees, and what each stands for."""
PARK_AFTER_S = 0.05
ROUNDING_S = 0.005


@dataclass(frozen=True, slots=True)
class Window:
    """A place that the victim comes to, and what may have been cut off there.

    `victim` is the ledger or a letter. `held` is the step that takes long, if one has to.
    `function` is what is called: the chain itself, or the one that calls into another tree.
    """

    place: Failpoint
    victim: str
    time: int = 1
    cut: frozenset[str] = frozenset()
    parked: bool = False
    held: str = ""
    function: str = "outer"
    settings: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        how = "parked" if self.parked else "hot"
        return f"{self.victim}-{self.place}-{self.time}-{how}"


def _windows(places: Mapping[str, list[tuple[Failpoint, int]]], parked: bool) -> list[Window]:
    return [
        Window(place, victim, time, CUT.get((place, victim), frozenset()), parked)
        for victim, found in places.items()
        for place, time in found
    ]


CUT = {
    (Failpoint.ACQUIRE_ANSWERED, "b"): frozenset({"prepare"}),
    (Failpoint.ACQUIRE_ANSWERED, "c"): frozenset({"leaf"}),
    (Failpoint.BODY_FULFILL, "c"): frozenset({"leaf"}),
}
"""The steps that have begun at a place and are not recorded; early start begins some."""

HOT = _windows(
    {
        LEDGER: [
            (Failpoint.CREATE_COMMITTED, 1),
            (Failpoint.CREATE_COMMITTED, 2),
            (Failpoint.FULFILL_COMMITTED, 1),
            (Failpoint.FULFILL_COMMITTED, 3),
            (Failpoint.BATCH_COMMITTED, 4),
            (Failpoint.BATCH_PUBLISHED, 2),
            (Failpoint.OUTBOX_CONFIRMED, 1),
            (Failpoint.PROMOTION_PUBLISHED, 1),
        ],
        "a": [(Failpoint.UNBLOCK_HEARD, 1), (Failpoint.FULFILL_ANSWERED, 1)],
        "b": [
            (Failpoint.EXECUTE_DELIVERED, 1),
            (Failpoint.ACQUIRE_ANSWERED, 1),
            (Failpoint.BODY_START, 1),
            (Failpoint.UNBLOCK_HEARD, 1),
            (Failpoint.BODY_FULFILL, 1),
            (Failpoint.FULFILL_ANSWERED, 1),
        ],
        "c": [
            (Failpoint.ACQUIRE_ANSWERED, 1),
            (Failpoint.BODY_FULFILL, 1),
            (Failpoint.FULFILL_ANSWERED, 1),
        ],
    },
    parked=False,
)

PARKED = _windows(
    {
        LEDGER: [
            (Failpoint.CREATE_COMMITTED, 2),
            (Failpoint.FULFILL_COMMITTED, 1),
            (Failpoint.FULFILL_COMMITTED, 2),
            (Failpoint.BATCH_COMMITTED, 8),
            (Failpoint.BATCH_PUBLISHED, 8),
            (Failpoint.OUTBOX_CONFIRMED, 3),
            (Failpoint.PROMOTION_PUBLISHED, 1),
        ],
        "a": [(Failpoint.SUSPEND_ANSWERED, 1), (Failpoint.BODY_START, 2)],
        "b": [
            (Failpoint.SUSPEND_ANSWERED, 1),
            (Failpoint.EXECUTE_DELIVERED, 2),
            (Failpoint.ACQUIRE_ANSWERED, 2),
            (Failpoint.BODY_START, 2),
            (Failpoint.BODY_FULFILL, 1),
            (Failpoint.FULFILL_ANSWERED, 1),
        ],
    },
    parked=True,
)

MIRRORED = [
    Window(Failpoint.MIRROR_WRITTEN, LEDGER, parked=parked, function="linked")
    for parked in (False, True)
]

_BRIEF = {"hold_max": 0.2, "lease": 2.0, "refresh": 0.5}

MOVED = [
    Window(place, victim, 1, frozenset({held}), victim == "b", held, settings=_BRIEF)
    for place in (Failpoint.LEASE_ASKED, Failpoint.LEASE_ANSWERED)
    for victim, held in (("c", "leaf"), ("b", "prepare"))
]

WINDOWS = [*HOT, *PARKED, *MOVED, *MIRRORED]


class BrokenChain:
    """The chain, one process of which comes to a window, and whatever stands by for it."""

    def __init__(self, system: System, window: Window, fate: Fate) -> None:
        self.system = system
        self.window = window
        self._fate = fate
        self._settings = dict(window.settings)
        if window.parked:
            self._settings["park_after"] = PARK_AFTER_S
        self._resonate = Resonate(system.url, group="gateway")
        self._handle: Handle[dict[str, str]] | None = None
        self._standing_by = False
        self.victim = self._start()

    def run(self, strike: Callable[[], None]) -> None:
        """Run the chain to its result; beside it `strike` waits for the mishap and follows it up.

        A step that is to take long lasts until then; where everybody parks, the leaf lasts until
        they have.
        """
        held = self.window.held or ("leaf" if self.window.parked else "")
        if held:
            self.system.journal.close_gate(held)
        with ThreadPoolExecutor(1) as beside:
            struck = beside.submit(self._strike, strike)
            self.call()
            if self.window.parked and not self.window.held:
                _wait(struck, "everybody is parked", self.all_parked)
            if self.window.held or (self.window.parked and self.reached()):
                struck.result(WAIT_S)
            if held:
                self.system.journal.open_gate(held)
            _wait(struck, "the chain is over", self.done)
            struck.result(WAIT_S)

    def reached(self) -> bool:
        """Whether the victim has come to its window."""
        log = self.victim.log.read_text(encoding="utf-8")
        return f" comes to {self.window.place} " in log

    def all_parked(self) -> bool:
        """Whether everybody waits for the leaf, and in no process."""
        tasks = ["chain"] if self.window.function == "linked" else ["chain", "chain:2"]
        return all(self.system.task_state(task) == "suspended" for task in tasks)

    def call(self) -> None:
        """Begin the chain; recorded when this returns."""
        self._handle = self._resonate.options(target="service-a").rpc("chain", self.window.function)

    def result(self) -> dict[str, str]:
        assert self._handle is not None
        return self._handle.result(timeout=WAIT_S)

    def done(self) -> bool:
        return self._handle is not None and self._handle.done()

    def ask(self) -> None:
        """Have the ledger answer something: what was sent to it before has been answered too."""
        self._resonate.promises.get("chain")

    def stand_by(self) -> None:
        """Let the standby of a worker take work; a ledger's always does."""
        if self.window.victim != LEDGER and not self._standing_by:
            self._standing_by = True
            self.system.journal.open_gate("standby")

    def close(self) -> None:
        self._resonate.stop()

    def check(self, strays: Collection[int] = ()) -> None:
        """What has to hold whatever broke; runs of the processes `strays` count for nothing."""
        result, recorded = self.result(), self.recorded()
        assert recorded.pop(self.window.function) == result
        for name in recorded.keys() & {"middle"}:
            assert recorded[name].items() <= result.items()
        if "mirror" in recorded:
            assert recorded["mirror"] == result["leaf"]
        assert {name: recorded[name] for name in result} == result
        runs = [run for run in self.system.journal.runs() if run.pid not in strays]
        counts = Counter(run.function for run in runs)
        assert set(counts) <= set(result)
        assert {name for name in counts if counts[name] > 1} <= self.window.cut, counts
        assert max(counts.values()) <= 2
        settled_at = self.settled_at()
        began = time.time() - time.monotonic()
        late = [run for run in runs if began + run.at > settled_at[run.promise_id] + ROUNDING_S]
        assert late == [], "a step ran although it was recorded"

    def recorded(self) -> dict[str, Any]:
        """By name, the value that each promise was settled with; there are no other promises."""
        names = PROMISES[self.window.function]
        rows = self.system.query("SELECT id, state, value_data FROM promises")
        assert {row[0]: row[1] for row in rows} == dict.fromkeys(names, "resolved")
        return {names[row[0]]: json.loads(base64.b64decode(row[2])) for row in rows}

    def settled_at(self) -> dict[str, float]:
        """By promise, when it was settled, in seconds since the epoch."""
        rows = self.system.query("SELECT id, settled_at FROM promises")
        return {row[0]: row[1] / 1000 for row in rows}

    def _strike(self, strike: Callable[[], None]) -> None:
        strike()
        self.stand_by()

    def _start(self) -> Process:
        window = self.window
        mishap = str(Mishap(window.place, self._fate, window.time))
        if window.victim != LEDGER:
            self.system.journal.close_gate("standby")
            self.system.ledger(**self._settings)
            victim = self.system.worker(f"chain:{window.victim}", mishap, **self._settings)
            others = "abc".replace(window.victim, "")
            self.system.chain(others, window.victim, **self._settings)
            self.system.wait_for_ledger()
            return victim
        before = 0
        if window.place is Failpoint.PROMOTION_PUBLISHED:
            self.system.ledger(str(Mishap(Failpoint.BATCH_COMMITTED, Fate.KILL, 4)))
            before = 1
            self.system.wait_for_ledger()
        victim = self.system.ledger(mishap)
        self.system.chain("abc", **self._settings)
        self.system.wait_for_ledger(before + 1)
        self.system.ledger()
        if self._fate is not Fate.KILL:
            # A killed one is waited for anyway: without its rival the chain does not end.
            self.system.wait_for_ledger(before + 2)
        return victim


def _wait(struck: Future[None], what: str, condition: Callable[[], bool]) -> None:
    """Wait for a condition, or raise what kept `struck` from its end."""
    wait_until(what, lambda: condition() or (struck.done() and struck.exception()))
    if struck.done():
        struck.result()
