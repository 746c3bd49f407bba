"""Conflicts: whether an id that is taken stands for the very call that a strict caller makes."""

from __future__ import annotations

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import PromiseCreate, Request, Response, TaskCreate
from resonate_amqp.errors import Conflict, Encoding
from resonate_amqp.wire.codec import Call, decode_call
from resonate_amqp.wire.differences import difference_of


def conflict(request: Request, response: Response) -> Conflict | None:
    """Why the answer to a strict create is about another call; None when it is about this one.

    The ledger compares bytes, and one of an earlier release does not compare at all; here the
    order of keyword arguments does not count, nor does the version, which is the one that the
    execution began with.
    """
    create = request.action if isinstance(request, TaskCreate) else request
    recorded = response.promise
    if not isinstance(create, PromiseCreate) or not create.strict or recorded is None:
        return None
    if recorded.param.data == create.param.data:
        return None
    was, now = _call(recorded), decode_call(create.param)
    if was is None:
        what = "a promise that is no call"
    elif was.func != now.func:
        what = f"a call of {was.func!r}"
    elif (was.args, was.kwargs) != (now.args, now.kwargs):
        other = difference_of(recorded.param, create.param)
        what = f"a call of {was.func!r} with other arguments ({other})"
    else:
        return None
    return Conflict(f"id {create.id!r} is taken by {what}; use an id of its own for each call")


def _call(recorded: Promise) -> Call | None:
    try:
        return decode_call(recorded.param)
    except Encoding:
        return None
