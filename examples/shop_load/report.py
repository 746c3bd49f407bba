"""The report: what was accepted, what was done, how often it was asked for, how long it took."""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Sequence

from examples.shop_load.kills import Kills
from examples.shop_load.load import Load
from examples.shop_load.processes import Supervisor
from examples.shop_load.reconcile import Found, durations

SHOWN = 40


def show(
    found: Found,
    load: Load,
    kills: Kills,
    supervisor: Supervisor,
    ended_at: float,
    differences: Sequence[str],
) -> None:
    """Print everything that is to be known of a run."""
    counts = ", ".join(f"{what} {count}" for what, count in sorted(kills.counts.items()))
    print(f"\nkills: {sum(kills.counts.values())} ({counts})")
    for what in sorted(set(supervisor.restarts)):
        print(f"  {what}, {supervisor.restarts.count(what)} times")
    unconfirmed = f"placed again for want of a confirm: {load.repeated}"
    print(f"orders accepted by the broker: {len(load.accepted)} ({unconfirmed})")
    print(f"{'':10}{'recorded':>10}{'requests':>10}{'repeated':>10}")
    for what, done in found.keys.items():
        recorded = sum(len(keys) for keys in done.values())
        counted = what in found.requests
        requests, repeated = (found.requests[what], found.repeated(what)) if counted else ("", "")
        print(f"{what + 's':10}{recorded:>10}{requests:>10}{repeated:>10}")
    _show_times(found, load, kills, ended_at)
    if not differences:
        print("every order has exactly one recorded charge, parcel and mail")
        return
    print(f"{len(differences)} differences:")
    for line in differences[:SHOWN]:
        print(f"  {line}")
    if len(differences) > SHOWN:
        print(f"  … and {len(differences) - SHOWN} more")


def _show_times(found: Found, load: Load, kills: Kills, ended_at: float) -> None:
    took = durations(found, load.accepted)
    if not took:
        return
    settled = sorted(found.settled_at.values())
    print(
        f"an order took {statistics.median(took):.2f} s in the middle, "
        f"{took[int(len(took) * 0.95)]:.2f} s at 95 %, {took[-1]:.2f} s at most"
    )
    waits = [
        settled[after] - moment
        for moment in kills.moments
        if (after := bisect.bisect(settled, moment)) < len(settled)
    ]
    if waits:
        print(
            f"after a kill something was recorded again within {statistics.median(waits):.2f} s "
            f"in the middle, {max(waits):.2f} s at most"
        )
    print(
        f"the last order was settled {max(0.0, settled[-1] - ended_at):.1f} s after the last kill"
    )
