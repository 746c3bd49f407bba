"""How the release before reads what it is sent: the rules of its decoders, field by field."""

from __future__ import annotations

from typing import Any

STATES = {"pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"}
TASKS = {"pending", "acquired", "suspended", "halted", "fulfilled"}
VERDICTS = {"ack", "return"}


def read_replies(message: dict[str, Any]) -> dict[str, list[int]]:
    """The statuses of the answers to each group; raises as that release does."""
    assert (message["kind"], message["version"]) == ("replies", "2026-04-01")
    assert type(message["now"]) is int
    statuses: dict[str, list[int]] = {}
    for reply in message["replies"]:
        results = reply["results"]
        if results and results[0]["kind"] == "origin.get" and "tree" in results[0]["data"]:
            for node in results[0]["data"]["tree"]:
                read_promise(node["promise"])
                if "task" in node:
                    read_task(node["task"])
            statuses[reply["id"]] = [200]
        else:
            statuses[reply["id"]] = [read_response(result) for result in results]
    for unblock in message["unblocks"]:
        read_promise(unblock["data"]["promise"])
    return statuses


def read_response(record: dict[str, Any]) -> int:
    data = record["data"]
    for promise in ([data["promise"]] if "promise" in data else []) + data.get("preload", []):
        read_promise(promise)
    if "task" in data:
        read_task(data["task"])
    assert type(data.get("more", False)) is bool
    assert type(data.get("applied", False)) is bool
    assert all(type(holder) is str for holder in data.get("lost", []))
    assert data.get("delivery", "ack") in VERDICTS
    assert type(data.get("error", "")) is str
    status = record["head"]["status"]
    assert type(status) is int
    return int(status)


def read_promise(record: dict[str, Any]) -> None:
    assert type(record["id"]) is str
    assert record["state"] in STATES
    for value in (record["param"], record["value"]):
        assert value == {} or set(value) >= {"headers", "data"}
    assert all(type(text) is str for text in record["tags"].values())
    assert type(record["timeoutAt"]) is type(record["createdAt"]) is int
    assert type(record.get("settledAt", 0)) is int


def read_task(record: dict[str, Any]) -> None:
    assert type(record["id"]) is str
    assert record["state"] in TASKS
    assert type(record["version"]) is int


def read_execute(message: dict[str, Any]) -> str:
    """The id of the offered task; raises as that release does."""
    assert (message["kind"], message["version"]) == ("execute", "2026-04-01")
    data = message["data"]
    read_promise(data["promise"])
    assert type(data["task"]["version"]) is type(message["head"]["now"]) is int
    assert type(data["ticket"]) is str
    assert type(data["repeat"]) is bool
    return str(data["promise"]["id"])
