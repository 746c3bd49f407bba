"""System: broker, ledger and workers inside a test, on a clock that only the test moves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from resonate_amqp.brokers.faults import Fate
from resonate_amqp.core.effects import Limits
from resonate_amqp.core.model import origin_of
from resonate_amqp.errors import ResonateError, UsageError
from resonate_amqp.ports import Telemetry
from resonate_amqp.resonate import Embedded, Resonate
from resonate_amqp.runtime.commands import Seconds, seconds_of
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.settings import Settings
from resonate_amqp.testing.clock import ManualClock
from resonate_amqp.testing.crashes import CrashPoint, WatchedLedger, When
from resonate_amqp.testing.history import History
from resonate_amqp.testing.mail import KINDS, Kind, Mail
from resonate_amqp.testing.party import Party
from resonate_amqp.testing.stage import Stage, StageBroker
from resonate_amqp.wire.address import check_id

PATIENCE_S = 10.0
CLOSING_S = 0.5
MOST_LISTED = 10


class System(Embedded):
    """A whole system for one test; a context manager.

    Time stands still until `advance`. Functions run for real, on threads; `patience` is how many
    seconds of real time they may take before the test fails. Leaving the context without an
    error raises AssertionError when a `crash_at` was never reached.
    """

    def __init__(
        self,
        *,
        start: datetime | None = None,
        max_deliveries: int = 10,
        patience: float = PATIENCE_S,
    ) -> None:
        start_s = time.time() if start is None else start.timestamp()
        self._clock = ManualClock(round(start_s * 1000))
        self._stage = Stage(self._clock, patience)
        self._stage.attend = self._attend
        self._mail = Mail()
        self._watched = WatchedLedger(Limits(max_deliveries=max_deliveries), self._kill)
        self._stage.next_timer = self._watched.next_timer
        self._stage.longest_gap = self._watched.longest_gap
        self._parties: list[Party] = []
        self._hosted: list[Resonate] = []
        broker = StageBroker(self._mail)
        broker.stage = self._stage
        super().__init__(
            self._watched,
            broker=broker,
            clock=self._clock,
            drive=self._stage.drive,
        )

    @property
    def now(self) -> datetime:
        """The time in this system, which is UTC."""
        return datetime.fromtimestamp(self._clock.now() / 1000, UTC)

    @property
    def crashes(self) -> list[str]:
        """The ids of the promises at whose steps workers died, in order."""
        return list(self._watched.crashes)

    def resonate(self, group: str = "default", **settings: Any) -> Resonate:
        """A Resonate in this system; what is registered with it is served."""
        made = Resonate(system=self, group=group, **settings)
        made._joined()
        return made

    def host(self, resonate: Resonate) -> Resonate:
        """Have a Resonate of the program live here until the end, instead of at its url."""
        resonate.move(self)
        self._hosted.append(resonate)
        resonate._joined()
        return resonate

    def advance(self, duration: Seconds = 0) -> None:
        """Let time pass, and return when everything that became due has been worked off.

        `advance()` only works off what is due now.
        """
        self._stage.pass_time(round(seconds_of(duration) * 1000))

    def crash_at(self, step: str, *, when: When = "before", times: int = 1) -> None:
        """Kill the worker that comes to a step, `times` times; another one takes over.

        `step` is the name of a function or the id of a promise. `before`: its body ran, and the
        outcome is not recorded, so it runs again. `after`: the outcome is recorded, and the
        worker dies before it hears of that.
        """
        if when not in ("before", "after"):
            raise UsageError(f"when={when!r} is not one of before, after")
        with self._stage.turning:
            self._watched.add(CrashPoint(step, when, times))

    def crash(self, group: str | None = None) -> None:
        """Kill the workers of a group, or all, now; others come in their place."""
        killed = [one.kill() for one in self._parties if group in (None, one.group)]
        if not any(killed):
            raise UsageError(f"group {group!r} has no worker to be killed")

    def deliver_twice(self, kind: Kind | None = None, *, times: int | None = None) -> None:
        """Deliver messages twice: the next `times` of a kind; by default all, from now on."""
        self._disturb(kind, Fate.DUPLICATE, times)

    def drop(self, kind: Kind, *, times: int = 1) -> None:
        """Lose the next `times` messages of a kind; what was lost is repeated as time passes."""
        self._disturb(kind, Fate.DROP, times)

    def history(self, promise_id: str) -> History:
        """What is recorded of a workflow now: its promise and everything its body asked for."""
        root = origin_of(check_id(promise_id))
        with self._stage.turning:
            tree = self._watched.tree(root, len(self._watched.promises))
        return History.within(promise_id, [promise for promise, _ in tree])

    def join(
        self,
        registry: Registry,
        settings: Settings,
        dependencies: Mapping[str, Any],
        telemetry: Telemetry,
        on_failure: Callable[[], None],
    ) -> Party:
        """The part that one Resonate plays in this system."""
        party = Party(
            self._stage,
            self.connect,
            registry,
            settings,
            dependencies,
            telemetry,
            on_failure,
            self._standing,
            self._watched.killed,
        )
        with self._stage.turning:
            self._parties.append(party)
        return party

    def check(self) -> None:
        """Raise AssertionError when a `crash_at` was not reached as often as it says."""
        missed = [str(point) for point in self._watched.points if point.times]
        if missed:
            names = sorted(
                {one.param.headers.get("func", "") for one in self._watched.promises.values()}
                - {""}
            )
            raise AssertionError(
                f"no worker came to {', '.join(missed)}; functions called: "
                f"{', '.join(names) or 'none'}"
            )

    def close(self) -> None:
        """Stop every Resonate that takes part, then the ledger."""
        with contextlib.suppress(TimeoutError, ResonateError):
            self._stage.until(lambda: False, CLOSING_S)
        for party in self._parties:
            party.on_failure()
            party.stop(CLOSING_S)
        for hosted in self._hosted:
            hosted.move(None)
        self._hosted.clear()
        super().close()
        self._stage.end()

    def __enter__(self) -> System:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
        if not any(raised):
            self.check()

    def _disturb(self, kind: Kind | None, fate: Fate, times: int | None) -> None:
        if kind not in (None, *KINDS):
            raise UsageError(f"{kind!r} is not a kind of message: {', '.join(KINDS)}")
        with self._stage.turning:
            self._mail.add(kind, fate, times)

    def _attend(self) -> None:
        for party in list(self._parties):
            party.attend()

    def _kill(self, pid: str) -> bool:
        for party in self._parties:
            if party.worker is not None and party.worker.session.pid == pid:
                return party.kill()
        return False

    def _standing(self, what: str) -> str:
        """Why nothing moves, and what would make it move."""
        with self._stage.turning:
            pending = self._watched.standing()
        listed = ", ".join(pending[:MOST_LISTED]) + (", …" if pending[MOST_LISTED:] else "")
        return (
            f"{what}, and nothing moves until time passes (system.advance) or somebody settles "
            f"what is waited for; pending: {listed or 'none'}"
        )
