"""The release before and this one, by the bytes that each sends.

`golden/previous` was written by that release, from the values that `test_envelope` still has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp.core.model import PROTOCOL
from resonate_amqp.core.requests import Group
from resonate_amqp.errors import ForeignVersion
from resonate_amqp.wire.envelope import (
    BadGroup,
    Reply,
    decode_execute,
    decode_replies,
    decode_requests,
)
from tests.server.desk import DEAD, START, Office, deliveries
from tests.wire.messages import ACQUIRED, PENDING, RESOLVED, message, step
from tests.wire.previous import read_execute, read_replies
from tests.wire.test_envelope import EXECUTE, REQUESTS, RESPONSES, golden

PREVIOUS = {
    path.stem: path.read_bytes()
    for path in (Path(__file__).parent / "golden" / "previous").glob("*.json")
}
OTHER = "2031-01-01"


def foreign(*groups: object) -> bytes:
    """A requests message of a version of the protocol that nobody here speaks."""
    return message(groups=list(groups)).replace(PROTOCOL.encode(), OTHER.encode())


def holds(new: Any, old: Any) -> bool:
    """Whether everything the old message says stands in the new one as well."""
    match old:
        case dict():
            return isinstance(new, dict) and all(
                name in new and holds(new[name], value) for name, value in old.items()
            )
        case list():
            return isinstance(new, list) and all(map(holds, new, old)) and len(new) >= len(old)
        case _:
            return bool(new == old)


def widened(message: Any) -> Any:
    """The message with a field in every object that no release knows."""
    match message:
        case dict():
            named = {name: widened(value) for name, value in message.items()}
            free = {"tags", "headers"} & set(message)
            kept = {name: message[name] for name in free}
            return named | kept | {"xUnknown": {"deep": [1, None]}}
        case list():
            return [widened(item) for item in message]
        case _:
            return message


def test_every_request_of_the_release_before_is_read_as_it_was_meant() -> None:
    groups = decode_requests(PREVIOUS["requests"])
    assert [one for one in groups if isinstance(one, BadGroup)] == []
    read = [group.steps[0] for group in groups if isinstance(group, Group)]
    assert read[:-1] == list(REQUESTS[: len(read) - 1])


def test_everything_a_ledger_of_the_release_before_sends_is_read_as_it_was_meant() -> None:
    assert decode_replies(PREVIOUS["replies"]).replies[0] == Reply("g1", RESPONSES)
    assert decode_replies(PREVIOUS["unblock"]).unblocked == (RESOLVED,)
    assert decode_replies(PREVIOUS["tree"]).replies[0].tree == [
        (PENDING, ACQUIRED),
        (RESOLVED, None),
    ]
    assert decode_execute(PREVIOUS["execute"]) == EXECUTE
    assert decode_replies(PREVIOUS["replies"]).level == 0


@pytest.mark.parametrize("name", sorted(set(PREVIOUS) - {"requests"}))
def test_what_is_sent_today_holds_all_that_the_release_before_looks_for(name: str) -> None:
    assert holds(json.loads(golden()[name]), json.loads(PREVIOUS[name]))


def test_the_requests_sent_today_hold_all_that_the_release_before_looks_for() -> None:
    sent = [group["steps"] for group in json.loads(golden()["requests"])["groups"]]
    for group in json.loads(PREVIOUS["requests"])["groups"]:
        assert [steps for steps in sent if holds(steps, group["steps"])], group["steps"]


def test_the_release_before_reads_what_is_sent_today() -> None:
    assert read_execute(json.loads(golden()["execute"])) == PENDING.id
    assert read_replies(json.loads(golden()["replies"]))["g2"] == [400]
    assert read_replies(json.loads(golden()["tree"])) == {"g3": [200]}
    assert read_replies(json.loads(golden()["unblock"])) == {}


def test_the_release_before_reads_every_answer_to_what_it_asks() -> None:
    office = Office()
    desk = office.service()
    client = office.client()
    client.send_raw(PREVIOUS["requests"])
    desk.work()
    answered: dict[str, list[int]] = {}
    for event in deliveries(client.connection):
        answered |= read_replies(json.loads(event.body))
    asked = json.loads(PREVIOUS["requests"])["groups"]
    assert set(answered) == {group["id"] for group in asked}
    assert 500 not in {status for statuses in answered.values() for status in statuses}


def test_the_release_before_reads_the_offer_of_a_task_that_it_creates() -> None:
    office = Office()
    desk = office.service()
    client, worker = office.client(), office.worker("billing")
    create = json.loads(PREVIOUS["requests"])["groups"][1]
    create["steps"][0]["data"]["timeoutAt"] = START + 3_600_000
    client.send_raw(message(groups=[create]))
    desk.work()
    [offer] = deliveries(worker)
    assert read_execute(json.loads(offer.body)) == "order-42:1"


@pytest.mark.parametrize("name", ["requests", "replies", "tree", "unblock", "execute"])
def test_fields_that_nobody_knows_are_ignored_both_ways(name: str) -> None:
    decode: Any = {"requests": decode_requests, "execute": decode_execute}.get(name, decode_replies)
    body = golden()[name]
    assert decode(json.dumps(widened(json.loads(body))).encode()) == decode(body)


def test_every_group_of_another_version_is_answered_400_naming_both() -> None:
    office = Office()
    desk = office.service()
    client = office.client()
    future = {"id": "g2", "steps": {"shape": "unheard of"}}
    client.send_raw(foreign({"id": "g1", "steps": [step("promise.get", id="p")]}, future))
    desk.work()
    replies = client.replies()
    assert set(replies) == {"g1", "g2"}
    for reply in replies.values():
        [response] = reply.responses
        assert response.status == 400
        assert OTHER in response.error
        assert PROTOCOL in response.error
    assert office.dead() == []
    assert office.broker.depth(DEAD.name) == 0


@pytest.mark.parametrize("groups", [[], [{"number": 1}], ["g1"]])
def test_a_message_of_another_version_without_anybody_to_answer_is_a_dead_letter(
    groups: list[object],
) -> None:
    office = Office()
    desk = office.service()
    office.client().send_raw(foreign(*groups))
    desk.work()
    [dead] = office.dead()
    assert OTHER in dead["reason"]
    assert PROTOCOL in dead["reason"]


@pytest.mark.parametrize("decode", [decode_replies, decode_execute])
def test_replies_and_executes_of_another_version_name_both(decode: Any) -> None:
    kind = "replies" if decode is decode_replies else "execute"
    body = golden()[kind].replace(PROTOCOL.encode(), OTHER.encode())
    with pytest.raises(ForeignVersion, match=rf"{OTHER}.*{PROTOCOL}"):
        decode(body)


def test_an_unknown_kind_costs_its_own_group_and_no_other() -> None:
    office = Office()
    desk = office.service()
    client = office.client()
    groups = [
        {"id": "g1", "steps": [step("promise.get", id="p")]},
        {"id": "g2", "steps": [step("promise.frobnicate", id="p")]},
    ]
    client.send_raw(message(groups=groups))
    desk.work()
    statuses = {name: reply.responses[0].status for name, reply in client.replies().items()}
    assert statuses == {"g1": 404, "g2": 400}
