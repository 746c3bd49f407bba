"""A request of the protocol: from its JSON and to it, kind by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from resonate_amqp.core.model import TARGET, PromiseState, TaskState
from resonate_amqp.core.reports import PromiseReport
from resonate_amqp.core.requests import (
    Lease,
    OriginGet,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    Query,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskLease,
    TaskRedrive,
    TaskRelease,
    TaskSearch,
    TaskSuspend,
)
from resonate_amqp.errors import InvalidId, InvalidTarget, Malformed
from resonate_amqp.wire.address import canonical, check_id, is_ledger_queue, is_reply_queue
from resonate_amqp.wire.fields import MAX_KEY, Fields, write_value
from resonate_amqp.wire.foreign import read_param
from resonate_amqp.wire.pages import read_cursor, read_limit, write_page
from resonate_amqp.wire.schedules import READERS as SCHEDULE_READERS
from resonate_amqp.wire.schedules import write_schedule_request


def read_request(decoded: Any, path: str) -> Request | Query:
    """The request a JSON object stands for; raises Malformed naming what is wrong with it."""
    outer = Fields(decoded, path)
    kind = outer.text("kind")
    reader = _READERS.get(kind)
    if reader is None:
        raise Malformed(f"{path}.kind", f"{kind!r} is no request of this protocol")
    return reader(outer.object("data"))


def write_request(request: Request | Query) -> dict[str, Any]:
    """The request's JSON object."""
    return {"kind": request.kind, "data": _data(request)}


def _data(request: Request | Query) -> dict[str, Any]:
    match request:
        case PromiseGet(id=id) | TaskGet(id=id) | TaskContinue(id=id) | TaskRedrive(id=id):
            return {"id": id}
        case OriginGet() | PromiseSearch() | TaskSearch():
            return _sought(request) | write_page(request)
        case PromiseCreate():
            return {
                "id": request.id,
                "timeoutAt": request.timeout_at,
                "param": write_value(request.param),
                "tags": dict(request.tags),
            } | ({"strict": True} if request.strict else {})
        case PromiseSettle():
            return {
                "id": request.id,
                "state": request.state.value,
                "value": write_value(request.value),
            }
        case PromiseRegisterCallback():
            return {"awaited": request.awaited, "awaiter": request.awaiter}
        case PromiseRegisterListener():
            return {"awaited": request.awaited, "address": request.address}
        case TaskCreate():
            lease = {"pid": request.pid, "ttl": request.ttl, "holder": request.holder}
            again = {"redelivered": True} if request.redelivered else {}
            return {**lease, "action": write_request(request.action), **again}
        case TaskAcquire():
            return {
                "id": request.id,
                "version": request.version,
                "pid": request.pid,
                "ttl": request.ttl,
                "holder": request.holder,
                "ticket": request.ticket,
                "redelivered": request.redelivered,
                "redeliveries": request.redeliveries,
            }
        case TaskHeartbeat():
            return {
                "pid": request.pid,
                "tasks": [
                    {"id": lease.id, "version": lease.version, "holder": lease.holder}
                    for lease in request.tasks
                ],
            }
        case TaskFence() | TaskFulfill():
            return _lease(request) | {"action": write_request(request.action)}
        case TaskSuspend():
            actions = [
                write_request(PromiseRegisterCallback(awaited=awaited, awaiter=request.id))
                for awaited in request.awaited
            ]
            return _lease(request) | {"actions": actions}
        case TaskRelease():
            why = {"unknown": request.unknown} if request.unknown else {}
            return _lease(request) | {"delay": request.delay} | why
        case TaskLease():
            return _lease(request) | {"ttl": request.ttl}
        case PromiseReport():
            raise AssertionError(f"{request.kind} does not travel")
        case TaskHalt():
            held = _lease(request) if request.holder else {"id": request.id}
            return held | {"reason": request.reason}
        case _:
            return write_schedule_request(request)


def _sought(query: OriginGet | PromiseSearch | TaskSearch) -> dict[str, Any]:
    match query:
        case OriginGet(id=id):
            return {"id": id}
        case PromiseSearch(name=name, value=value):
            return {"name": name, "value": value}
        case TaskSearch(states=states, before=before):
            return {"states": [state.value for state in states], "before": before}
        case _:
            assert_never(query)


_Held = TaskFence | TaskFulfill | TaskSuspend | TaskRelease | TaskLease | TaskHalt


def _lease(request: _Held) -> dict[str, Any]:
    return {"id": request.id, "version": request.version, "holder": request.holder}


def read_id(fields: Fields, name: str = "id") -> str:
    """A promise's id; raises Malformed when it may not be one."""
    try:
        return check_id(fields.text(name))
    except InvalidId as error:
        raise Malformed(fields.path(name), str(error)) from None


def _create(fields: Fields) -> PromiseCreate:
    tags = fields.texts("tags")
    if TARGET in tags:
        try:
            tags[TARGET] = canonical(tags[TARGET])
        except InvalidTarget as error:
            raise Malformed(fields.path("tags"), str(error)) from None
    return PromiseCreate(
        id=read_id(fields),
        timeout_at=fields.integer("timeoutAt"),
        param=read_param(fields, "param", tags.get(TARGET, "")),
        tags=tags,
        strict=fields.boolean("strict"),
    )


def _settle(fields: Fields) -> PromiseSettle:
    state = fields.text("state")
    try:
        verdict = PromiseState(state)
    except ValueError:
        raise Malformed(fields.path("state"), f"{state!r} is no state of a promise") from None
    return PromiseSettle(id=read_id(fields), state=verdict, value=fields.value("value"))


def _callback(fields: Fields) -> PromiseRegisterCallback:
    return PromiseRegisterCallback(
        awaited=read_id(fields, "awaited"), awaiter=read_id(fields, "awaiter")
    )


def _listener(fields: Fields) -> PromiseRegisterListener:
    address = fields.text("address")
    if not (is_reply_queue(address) or is_ledger_queue(address)):
        raise Malformed(fields.path("address"), f"{address!r} is not the name of a reply queue")
    return PromiseRegisterListener(awaited=read_id(fields, "awaited"), address=address)


def _task_create(fields: Fields) -> TaskCreate:
    action = _action(fields)
    if not isinstance(action, PromiseCreate):
        raise Malformed(fields.path("action"), "promise.create is expected")
    return TaskCreate(
        pid=fields.text("pid"),
        ttl=fields.positive("ttl"),
        holder=fields.text("holder"),
        action=action,
        redelivered=fields.boolean("redelivered"),
    )


def _acquire(fields: Fields) -> TaskAcquire:
    return TaskAcquire(
        id=read_id(fields),
        version=fields.integer("version"),
        pid=fields.text("pid"),
        ttl=fields.positive("ttl"),
        holder=fields.text("holder"),
        ticket=fields.text("ticket", ""),
        redelivered=fields.boolean("redelivered"),
        redeliveries=fields.integer("redeliveries", -1),
    )


def _fence(fields: Fields) -> TaskFence:
    action = _action(fields)
    if not isinstance(action, PromiseCreate | PromiseSettle):
        raise Malformed(fields.path("action"), "promise.create or promise.settle is expected")
    return TaskFence(
        id=read_id(fields),
        version=fields.integer("version"),
        holder=fields.text("holder"),
        action=action,
    )


def _fulfill(fields: Fields) -> TaskFulfill:
    action = _action(fields)
    if not isinstance(action, PromiseSettle):
        raise Malformed(fields.path("action"), "promise.settle is expected")
    return TaskFulfill(
        id=read_id(fields),
        version=fields.integer("version"),
        holder=fields.text("holder"),
        action=action,
    )


def _suspend(fields: Fields) -> TaskSuspend:
    actions = [
        read_request(action, f"{fields.path('actions')}[{number}]")
        for number, action in enumerate(fields.list("actions"))
    ]
    callbacks = [action for action in actions if isinstance(action, PromiseRegisterCallback)]
    task_id = read_id(fields)
    if len(callbacks) != len(actions) or any(one.awaiter != task_id for one in callbacks):
        raise Malformed(fields.path("actions"), "callbacks of the task itself are expected")
    return TaskSuspend(
        id=task_id,
        version=fields.integer("version"),
        holder=fields.text("holder"),
        awaited=tuple(dict.fromkeys(one.awaited for one in callbacks)),
    )


def _heartbeat(fields: Fields) -> TaskHeartbeat:
    leases = [
        Fields(lease, f"{fields.path('tasks')}[{number}]")
        for number, lease in enumerate(fields.list("tasks"))
    ]
    return TaskHeartbeat(
        pid=fields.text("pid"),
        tasks=tuple(
            Lease(id=read_id(lease), version=lease.integer("version"), holder=lease.text("holder"))
            for lease in leases
        ),
    )


def _release(fields: Fields) -> TaskRelease:
    return TaskRelease(
        id=read_id(fields),
        version=fields.integer("version"),
        holder=fields.text("holder"),
        delay=fields.duration("delay", 0),
        unknown=fields.text("unknown", ""),
    )


def _task_lease(fields: Fields) -> TaskLease:
    return TaskLease(
        id=read_id(fields),
        version=fields.integer("version"),
        holder=fields.text("holder"),
        ttl=fields.positive("ttl"),
    )


def _halt(fields: Fields) -> TaskHalt:
    return TaskHalt(
        id=read_id(fields),
        reason=fields.text("reason", ""),
        version=fields.integer("version", 0),
        holder=fields.text("holder", ""),
    )


def _search(fields: Fields) -> TaskSearch:
    named = fields.list("states")
    known = {state.value: state for state in TaskState}
    states = [known[name] for name in named if isinstance(name, str) and name in known]
    if not named or len(set(states)) != len(named):
        reason = f"different ones of {', '.join(TaskState)} are expected"
        raise Malformed(fields.path("states"), reason)
    cursor = read_cursor(fields)
    if cursor is not None and cursor.state is not None and cursor.state not in states:
        raise Malformed(fields.path("cursor"), "it is of a state that is not asked for")
    return TaskSearch(
        states=tuple(states),
        before=fields.integer("before"),
        limit=read_limit(fields),
        cursor=cursor,
    )


def _action(fields: Fields) -> Request | Query:
    return read_request(fields.raw("action"), fields.path("action"))


_READERS: dict[str, Callable[[Fields], Request | Query]] = {
    PromiseGet.kind: lambda fields: PromiseGet(id=read_id(fields)),
    PromiseCreate.kind: _create,
    PromiseSettle.kind: _settle,
    PromiseRegisterCallback.kind: _callback,
    PromiseRegisterListener.kind: _listener,
    TaskGet.kind: lambda fields: TaskGet(id=read_id(fields)),
    TaskCreate.kind: _task_create,
    TaskAcquire.kind: _acquire,
    TaskFence.kind: _fence,
    TaskHeartbeat.kind: _heartbeat,
    TaskSuspend.kind: _suspend,
    TaskFulfill.kind: _fulfill,
    TaskRelease.kind: _release,
    TaskLease.kind: _task_lease,
    TaskHalt.kind: _halt,
    TaskContinue.kind: lambda fields: TaskContinue(id=read_id(fields)),
    TaskRedrive.kind: lambda fields: TaskRedrive(id=read_id(fields)),
    OriginGet.kind: lambda fields: OriginGet(
        id=read_id(fields), limit=read_limit(fields), cursor=read_cursor(fields)
    ),
    PromiseSearch.kind: lambda fields: PromiseSearch(
        name=fields.text("name", longest=MAX_KEY),
        value=fields.text("value"),
        limit=read_limit(fields),
        cursor=read_cursor(fields),
    ),
    TaskSearch.kind: _search,
    **SCHEDULE_READERS,
}
