"""Cron expressions: five fields, or six with seconds first, read in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

from resonate_amqp.errors import UsageError

LONGEST = 256

_EPOCH = datetime.fromtimestamp(0, UTC)


def next_tick(cron: str, after: int) -> int | None:
    """The first tick after an instant (epoch ms): a whole second.

    None when there is none within fifty years, or the expression is not valid.
    """
    try:
        tick = next(CronSim(cron, _EPOCH + timedelta(milliseconds=after)), None)
    except (CronSimError, OverflowError, ValueError):
        return None
    return None if tick is None else (tick - _EPOCH) // timedelta(milliseconds=1)


def check_cron(cron: object) -> str:
    """The expression, with single spaces; raises UsageError naming the field that is wrong."""
    form = "write MINUTE HOUR DAY-OF-MONTH MONTH DAY-OF-WEEK, or SECOND before them"
    if not isinstance(cron, str) or len(cron) > LONGEST:
        raise UsageError(f"cron {str(cron)[:40]!r} is not an expression that is kept; {form}")
    try:
        CronSim(cron, _EPOCH)
    except CronSimError as error:
        reason = str(error)
        problem = reason[:1].lower() + reason[1:]
        raise UsageError(f"cron {cron!r}: {problem}; {form}") from None
    except ValueError as error:
        raise UsageError(f"cron {cron!r}: {error}; {form}") from None
    if next_tick(cron, 0) is None:
        raise UsageError(f"cron {cron!r} names days that never come")
    return " ".join(cron.split())
