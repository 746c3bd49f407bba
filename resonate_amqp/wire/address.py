"""Every name on the broker, and the addresses that stand for them.

A target is what a caller writes (`poll://any@billing`, `celery://payments`); it is kept in one
canonical form and leads to one queue. No other module spells a queue's name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from resonate_amqp.core.model import SHARDS, shard_of
from resonate_amqp.errors import InvalidId, InvalidTarget

EXCHANGE = "resonate.ledger"
DEAD = "dead"
DEAD_QUEUE = "resonate.dead"
PREFIX = "resonate."
REPLY_PREFIX = "resonate.reply."
UNI_PREFIX = "resonate.uni."
MAX_ROOT_ID = 200
MAX_ID = 255
TOO_DEEP = (
    "each call inside another makes it longer. In a deep recursion give some of the calls an id of "
    "their own, .options(id=…), from which ids are counted anew, or call in a loop"
)
MAX_SCHEDULE_ID = 150
MAX_QUEUE = 255

CELERY = "celery"
QUEUE = "queue"

_ODD = re.compile(r"[%:\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POLL = re.compile(r"poll://(?:(any|uni)@)?([^/@]+)(?:/([^/@]+))?")
_FOREIGN = re.compile(r"(celery|queue)://(.*)", re.DOTALL)
_OWN = (PREFIX, "amq.")
_PLAIN = "/:@"
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
FORMS = (
    "poll://any@GROUP, poll://uni@GROUP/PID, poll://GROUP, GROUP, celery://QUEUE or queue://NAME"
)


def ledger_queue(number: int) -> str:
    """The queue of the ledger with this number."""
    return f"resonate.ledger.{number}"


def shard_key(promise_id: str) -> str:
    """The routing key, `00`…`3f`, under which requests about a promise are published."""
    return f"{shard_of(promise_id):02x}"


def shard_keys() -> list[str]:
    """Every routing key under which requests are published."""
    return [f"{shard:02x}" for shard in range(SHARDS)]


def any_queue(group: str) -> str:
    """The queue that all workers of a group share."""
    return f"resonate.any.{group}"


def uni_queue(group: str, pid: str) -> str:
    """The queue of one process of a group."""
    return f"resonate.uni.{group}.{pid}"


def reply_queue(group: str, pid: str, epoch: str) -> str:
    """The reply queue of one process's consuming connection."""
    return f"resonate.reply.{group}.{pid}.{epoch}"


def is_ledger_queue(name: str) -> bool:
    """Whether a name is that of a ledger's queue, by which ledgers talk to each other."""
    return re.fullmatch(r"resonate\.ledger\.[0-9]{1,3}", name) is not None


def is_reply_queue(name: str) -> bool:
    """Whether a name may be an address of a listener."""
    return name.startswith(REPLY_PREFIX) and len(name.encode()) <= 255


def check_name(what: str, name: str) -> str:
    """The group or pid itself; raises InvalidTarget when it could not stand in a queue's name."""
    if not _NAME.fullmatch(name):
        raise InvalidTarget(f"{what} {name!r} must be 1 to 64 of A-Z a-z 0-9 _ -")
    return name


@lru_cache(maxsize=1024)
def canonical(target: str) -> str:
    """The one form of a target: `poll://any@GROUP`, `poll://uni@GROUP/PID`, `celery://QUEUE` or
    `queue://NAME`, a queue's name percent-encoded where it is odd. Anything else: InvalidTarget.
    """
    if not isinstance(target, str):
        raise InvalidTarget(f"target {target!r} is of type {type(target).__name__}; write {FORMS}")
    foreign = _FOREIGN.fullmatch(target)
    if foreign is not None:
        kind, name = foreign.groups()
        return f"{kind}://{quote(_foreign_queue(target, name), safe=_PLAIN)}"
    text = target if "://" in target else f"poll://any@{target}"
    match = _POLL.fullmatch(text)
    if match is None:
        raise InvalidTarget(f"target {target!r} is not an address; write {FORMS}")
    cast, group, pid = match.groups()
    check_name(f"target {target!r}: group", group)
    if pid is not None:
        check_name(f"target {target!r}: pid", pid)
    if cast != "uni":
        return f"poll://any@{group}"
    if pid is None:
        raise InvalidTarget(f"target {target!r} names no pid; write poll://uni@{group}/PID")
    return f"poll://uni@{group}/{pid}"


def is_foreign(target: str) -> bool:
    """Whether a canonical target, if it is one, leads to a queue that is not ours."""
    return target != "" and not target.startswith("poll://")


@lru_cache(maxsize=1024)
def queue_of(target: str) -> str:
    """The queue a target leads to; raises InvalidTarget as `canonical` does."""
    named = canonical(target)
    if is_foreign(named):
        return unquote(named.partition("://")[2])
    match = _POLL.fullmatch(named)
    assert match is not None
    cast, group, pid = match.groups()
    return uni_queue(group, pid) if cast == "uni" else any_queue(group)


@lru_cache(maxsize=1024)
def group_of(target: str) -> str:
    """The group a target names; an empty string when it leads to none of ours."""
    match = _POLL.fullmatch(target)
    return match.group(2) if match else ""


def _foreign_queue(target: str, name: str) -> str:
    """The name of somebody else's queue, as a target spells it."""
    try:
        queue = unquote(_BROKEN.sub("%25", name), errors="strict")
        size = len(queue.encode())
    except UnicodeError:
        raise InvalidTarget(f"target {target!r}: the queue's name is not UTF-8") from None
    if not queue:
        raise InvalidTarget(f"target {target!r} names no queue; write {FORMS}")
    if size > MAX_QUEUE:
        raise InvalidTarget(f"target {target!r}: a queue's name has at most {MAX_QUEUE} bytes")
    if _CONTROL.search(queue):
        raise InvalidTarget(f"target {target!r}: the queue's name holds a control character")
    if queue.startswith(_OWN):
        raise InvalidTarget(
            f"target {target!r}: queues named resonate.* and amq.* are not for calls; to call a "
            "group write poll://any@GROUP"
        )
    return queue


def foreign_id(text: str) -> str:
    """An id that somebody else chose, percent-encoded where no id of ours may be so.

    Different texts stay different, and `unquote` gives each back.
    """
    return _ODD.sub(lambda odd: quote(odd[0], safe=""), text)


def check_root_id(promise_id: str) -> str:
    """A caller's id itself; raises InvalidId when it may not name the root of a tree."""
    if ":" in _string(promise_id):
        raise InvalidId(f"id {promise_id!r} holds a colon, which separates a tree from its steps")
    return _check_id(promise_id, MAX_ROOT_ID)


def check_schedule_id(schedule_id: str) -> str:
    """A schedule's id itself; raises InvalidId when its calls could not have ids made of it."""
    check_root_id(schedule_id)
    return _check_id(schedule_id, MAX_SCHEDULE_ID)


def check_id(promise_id: str) -> str:
    """Any promise's id itself, children included; raises InvalidId when it may not be one."""
    return _check_id(promise_id, MAX_ID)


def _check_id(promise_id: str, limit: int) -> str:
    if not _string(promise_id):
        raise InvalidId("the id is empty; give the call an id that names it")
    size = len(promise_id)
    if not promise_id.isascii():
        try:
            size = len(promise_id.encode())
        except UnicodeEncodeError:
            raise InvalidId(f"id {promise_id!r} holds a lone surrogate") from None
    if size > limit:
        remedy = TOO_DEEP if ":" in promise_id else "use a shorter one, such as a digest of it"
        raise InvalidId(
            f"id {promise_id[:40]!r}… is {size} bytes long; at most {limit} are kept; {remedy}"
        )
    if _CONTROL.search(promise_id):
        raise InvalidId(f"id {promise_id!r} holds a control character")
    return promise_id


def _string(promise_id: object) -> str:
    if not isinstance(promise_id, str):
        kind = type(promise_id).__name__
        raise InvalidId(f"id {promise_id!r} is of type {kind}; an id is a string")
    return promise_id
