"""Effects: which calls change something outside of the process, by the names of what is called."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from enum import Enum


class Kind(Enum):
    """What a call does; the value says it in a sentence about a line or a function."""

    TASK = "calls another task"
    WAIT = "waits for a result"
    SLEEP = "sleeps"
    POLL = "sleeps in a loop until something has happened"
    REQUEST = "sends a request that may change something"
    DATABASE = "writes to a database"
    MAIL = "sends mail"
    PUBLISH = "publishes a message"
    STORE = "changes a counter, a list or a file elsewhere"
    PROGRAM = "runs a program"


EFFECTS = {
    Kind.REQUEST: "send_request",
    Kind.DATABASE: "write_records",
    Kind.MAIL: "send_mail",
    Kind.PUBLISH: "publish",
    Kind.STORE: "change_store",
    Kind.PROGRAM: "run_program",
}
"""The kinds that must not happen twice, with a name for the function each is to move into."""

_CLIENT = r"(?:^|\.)(?:\w*(?:session|client|http)\w*)(?:\(\))?"
_WRITES = r"(?:post|put|patch|delete|request)"
_QUERY = r"\.objects(?:\.\w+\(\))*"

_NAMES: tuple[tuple[Kind, str], ...] = (
    (Kind.TASK, r"\.(?:delay|apply_async|send_task|delay_on_commit|apply_async_on_commit)$"),
    (Kind.TASK, r"^celery\.(?:canvas\.)?(?:group|chain|chord|chunks|xmap|xstarmap)(?:\(\))?$"),
    (Kind.SLEEP, r"^(?:time|gevent|eventlet)\.sleep$"),
    (Kind.WAIT, r"\.drain_events$|\.AsyncResult\(\)\.(?:get|wait)$|\.(?:join_native|collect)$"),
    (Kind.REQUEST, rf"^(?:requests|httpx)\.{_WRITES}$|^urllib\.request\.urlopen$"),
    (Kind.REQUEST, rf"{_CLIENT}\.{_WRITES}$"),
    (Kind.MAIL, r"^django\.core\.mail\.(?:send_mail|send_mass_mail|mail_admins|mail_managers)$"),
    (Kind.MAIL, r"\.(?:sendmail|send_message)$|(?i:mail|message|msg)\w*(?:\(\))?\.send$"),
    (Kind.PUBLISH, r"\.(?:basic_publish|publish)$|(?i:producer)\w*(?:\(\))?\.send$"),
    (Kind.DATABASE, rf"{_QUERY}\.(?:a?(?:bulk_|get_or_|update_or_)?(?:create|update|delete))$"),
    (Kind.DATABASE, r"\.a?save$|\.commit$|(?:^|\.)\w*session\w*(?:\(\))?\.(?:add|merge|flush)$"),
    (Kind.DATABASE, r"\.(?:add_all|bulk_save_objects|insert_one|insert_many|update_one)$"),
    (Kind.STORE, r"\.(?:incr|incrby|decr|lpush|rpush|xadd|put_object|upload_file|upload_fileobj)$"),
    (Kind.PROGRAM, r"^subprocess\.(?:run|call|check_call|check_output|Popen)$|^os\.system$"),
)
_KNOWN = tuple((kind, re.compile(pattern)) for kind, pattern in _NAMES)

_SQL = re.compile(r"^\s*(?:INSERT|UPDATE|DELETE|REPLACE|MERGE|CREATE|DROP|ALTER)\b", re.IGNORECASE)
_DRAWN = re.compile(r"^uuid\.uuid[14]$|^random\.\w+$|^secrets\.\w+$")


def kind_of(call: ast.Call, dotted: str) -> Kind | None:
    """What a call does by itself, as far as its name and its literal arguments tell."""
    if dotted.endswith((".execute", ".executemany", ".executescript")):
        return Kind.DATABASE if _SQL.match(_first_text(call)) else None
    if dotted == "urllib.request.urlopen" and _only_reads(call):
        return None
    if dotted.endswith((".request", ".open")) and _first_text(call).upper() in ("GET", "HEAD"):
        return None
    if dotted == "open":
        return Kind.STORE if "a" in _mode(call) else None
    return next((kind for kind, pattern in _KNOWN if pattern.search(dotted)), None)


def drawn_in(call: ast.Call, dotted: Callable[[ast.AST], str]) -> str:
    """What among a call's arguments is another value at each run, such as `uuid4()`."""
    for value in [*call.args, *(one.value for one in call.keywords if one.arg != "task_id")]:
        for node in ast.walk(value):
            if isinstance(node, ast.Call) and _DRAWN.search(dotted(node.func)):
                return ast.unparse(node)
    return ""


def _only_reads(call: ast.Call) -> bool:
    """Whether `urlopen` is given a plain address and no data."""
    plain = bool(call.args) and isinstance(call.args[0], ast.Constant | ast.JoinedStr)
    return plain and len(call.args) == 1 and all(one.arg != "data" for one in call.keywords)


def _first_text(call: ast.Call) -> str:
    """The beginning of a call's first literal text."""
    for node in call.args[:1]:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                return part.value
    return ""


def _mode(call: ast.Call) -> str:
    given = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "mode")]
    texts = [one.value for one in given if isinstance(one, ast.Constant)]
    return next((text for text in texts if isinstance(text, str)), "r")
