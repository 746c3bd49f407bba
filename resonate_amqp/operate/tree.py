"""The tree of promises under one root, as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from resonate_amqp.core.model import EXTERNAL, PARENT, SCOPE, Promise, PromiseState, Task, TaskState
from resonate_amqp.wire.address import group_of

_MARKS = {PromiseState.PENDING: "🟡", PromiseState.RESOLVED: "🟢"}
_REJECTED = "🔴"


def render(
    root: str, tree: Sequence[tuple[Promise, Task | None]], now: int | None = None
) -> list[str]:
    """One line a promise: id, state, what it is; the bare id when nothing is recorded under it.

    With `now` (epoch ms) also who has what is not settled, and for how long it has been there; when
    a sleep ends, and when a task is offered that was put off: to be delayed, or because a worker
    had lacked its function.
    """
    promises = {promise.id: (promise, task) for promise, task in tree}
    if root not in promises:
        return [root]
    children: dict[str, list[str]] = defaultdict(list)
    for promise, _ in tree:
        parent = promise.tags.get(PARENT, promise.id)
        if parent != promise.id:
            children[parent].append(promise.id)
    lines = [describe(*promises[root], now)]
    _add(lines, root, "", children, promises, now)
    return lines


def describe(promise: Promise, task: Task | None, now: int | None = None) -> str:
    """`ID MARK (rpc FUNC) …`, with what stands out: a task that is not where one expects it."""
    mark = _MARKS.get(promise.state, _REJECTED)
    parts = [promise.id, mark, _what(promise)]
    if promise.state not in _MARKS:
        parts.append(promise.value.headers.get("error") or promise.state.value)
    if promise.pending and task is not None:
        held = f" by {task.pid}" if now is not None and task.pid else ""
        parts.append(f"[{task.state}{held}{f': {task.reason}' if task.reason else ''}]")
    if promise.pending and now is not None:
        target = promise.target
        where = [group_of(target) or target] if target else []
        parts.append(", ".join([*where, _time_of(promise, task, now)]))
    return " ".join(part for part in parts if part)


def _time_of(promise: Promise, task: Task | None, now: int) -> str:
    """How long it has been there; of a sleep, when it ends, and of what was put off, until when."""
    if promise.timer:
        return f"ends in {lasting(promise.timeout_at - now)}"
    put_off = task is not None and task.state is TaskState.PENDING and not task.offered
    if put_off and task is not None and task.retry_at is not None and task.retry_at > now:
        return f"{lasting(now - promise.created_at)}, offered in {lasting(task.retry_at - now)}"
    return lasting(now - promise.created_at)


def lasting(milliseconds: int) -> str:
    """A duration in its two largest units: `4 s`, `3 min 20 s`, `2 d 1 h`."""
    left = max(0, milliseconds // 1000)
    parts: list[str] = []
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _what(promise: Promise) -> str:
    if promise.timer:
        return "(sleep)"
    func = promise.param.headers.get("func", "")
    if promise.tags.get(EXTERNAL) == "true" or (promise.mirror and not func):
        return "(promise)"
    if not func:
        return ""
    return f"({'run' if promise.tags.get(SCOPE) == 'local' else 'rpc'} {func})"


def _add(
    lines: list[str],
    parent: str,
    indent: str,
    children: dict[str, list[str]],
    promises: dict[str, tuple[Promise, Task | None]],
    now: int | None,
) -> None:
    below = sorted(children[parent], key=_order)
    for number, child in enumerate(below):
        last = number == len(below) - 1
        lines.append(f"{indent}{'└── ' if last else '├── '}{describe(*promises[child], now)}")
        _add(lines, child, indent + ("    " if last else "│   "), children, promises, now)


def _order(promise_id: str) -> tuple[int, ...]:
    """Children in the order of the code that called them."""
    return tuple(int(n) if n.isdigit() else 0 for n in promise_id.partition(":")[2].split("."))
