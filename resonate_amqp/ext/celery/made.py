"""Made: what a task was made durable with, and how that is found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from celery import Celery, Task
from celery.app.task import Context as Request

from resonate_amqp.ext.celery import messages
from resonate_amqp.ext.celery.attempts import first_id
from resonate_amqp.ext.celery.reach import reachable
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.ext.content import named_by_producer, shortened
from resonate_amqp.resonate import Resonate
from resonate_amqp.wire.address import foreign_id

MARK = "__resonate_durable__"
"""The attribute by which a function that was made durable is known."""

OWN = "celery."
"""How the names of Celery's own tasks begin."""

Source = Callable[[Task], Resonate]
"""The Resonate of a task."""
Named = Callable[..., str]
"""The promise's id of a call, by the call's arguments."""


@dataclass(frozen=True, slots=True)
class Made:
    """A function that was made durable.

    `named` makes its promises' ids of the arguments; without it they are the tasks' ids. With
    `asked_only`, messages that name no promise are none of ours.
    """

    shape: Shape
    source: Source
    named: Named | None = None
    asked_only: bool = False

    def concerns(self, request: Request) -> bool:
        """Whether a message stands for a promise."""
        return not self.asked_only or bool(asked_for(request))

    def promise_id(self, request: Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The promise that a message begins with; `args` and `kwargs` are the message's own.

        Raises InvalidId for a name that cannot be one.
        """
        execution = asked_for(request) or self._execution(request, args, kwargs)
        return first_id(execution, request, str(request.get(messages.QUEUE_HEADER) or ""))

    def _execution(self, request: Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        named = None if self.named is None else self.named(*args, **kwargs)
        if named is not None and named != "":
            return shortened(named_by_producer(str(named)))
        parts = [named_by_producer(request.id)]
        # What a task was replaced by has the task's id, and is another call.
        if nesting := request.get("replaced_task_nesting"):
            parts.append(f"replaced-{nesting}")
        if queue := request.get(messages.COPY_HEADER):
            parts.append(foreign_id(queue))
        return shortened(".".join(parts))


def asked_for(request: Request) -> str:
    """The promise a message was sent for; empty when it names none."""
    return str((request.headers or {}).get(messages.ID_HEADER) or "")


def made_of(task: Task) -> Made | None:
    """What a task's function was made durable with, under whatever decorators."""
    return made_in(getattr(task, "_orig_run", None) or task.run)


def made_in(func: Callable[..., Any]) -> Made | None:
    """What the durable function that another one leads to was made with, if there is exactly one.

    A mark of its own, such as `functools.wraps` copies, comes first.
    """
    found: list[Made] = []
    for one in reachable(func, lambda part: _marked(part) is not None):
        made = _marked(one)
        if made is not None and made not in found:
            found.append(made)
    return found[0] if len(found) == 1 else None


def _marked(func: Any) -> Made | None:
    try:
        made = getattr(func, MARK, None)
    except Exception:  # an object may do anything when it is asked
        return None
    return made if isinstance(made, Made) else None


def durable_tasks(app: Celery) -> Iterator[tuple[Task, Made]]:
    """The app's durable tasks."""
    for task in list(app.tasks.values()):
        made = made_of(task)
        if made is not None:
            yield task, made
