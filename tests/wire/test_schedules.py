"""Schedules on the wire: what is sent comes back, and what cannot be names its field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from resonate_amqp.core.model import EMPTY, TARGET, Schedule, Value
from resonate_amqp.core.requests import Group, Response
from resonate_amqp.core.timetable import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleRequest,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
)
from resonate_amqp.wire.address import MAX_SCHEDULE_ID
from resonate_amqp.wire.envelope import (
    decode_replies,
    decode_requests,
    encode_group,
    encode_replies,
    encode_reply,
    encode_requests,
    encode_timetable,
)
from resonate_amqp.wire.fields import LONGEST_MS, MAX_NAMES
from resonate_amqp.wire.schedules import OWN_TAGS
from tests.wire.messages import refusal, step, there_and_back

GOLDEN = Path(__file__).parent / "golden" / "schedules.json"
REQUESTS: tuple[ScheduleRequest, ...] = (
    ScheduleCreate(
        id="nightly",
        cron="0 3 * * *",
        param=Value({"func": "tidy", "version": "1"}, "eyJmdW5jIjoidGlkeSJ9"),
        tags={TARGET: "poll://any@shop", "team": "café"},
        timeout_ms=3_600_000,
    ),
    ScheduleGet(id="nightly"),
    ScheduleDelete(id="nightly"),
    SchedulePause(id="nightly"),
    ScheduleResume(id="nightly"),
    ScheduleTrigger(id="nightly", promise_id="nightly.000000000000001Z"),
)
FULL = Schedule(
    id="nightly",
    cron="0 3 * * *",
    param=Value({"func": "tidy"}, "eyJmdW5jIjoidGlkeSJ9"),
    tags={TARGET: "poll://any@shop"},
    timeout_ms=3_600_000,
    created_at=1_000_000,
    next_at=3_000_000,
    last_at=2_000_000,
    paused=True,
)
BARE = Schedule(
    id="never",
    cron="0 0 1 1 *",
    param=EMPTY,
    tags={TARGET: "poll://any@shop"},
    timeout_ms=1,
    created_at=1_000_000,
    next_at=None,
)
SEARCH = Group(id="g9", steps=(ScheduleSearch(limit=5),))


def create(**fields: Any) -> dict[str, Any]:
    good = {"id": "n", "cron": "* * * * *", "promiseTimeout": 5, "promiseTags": {TARGET: "shop"}}
    return step("schedule.create", **(good | fields))


def golden() -> dict[str, Any]:
    asked = Group(id="g1", steps=(REQUESTS[1], REQUESTS[2]))
    answers = [Response(status=200, schedule=FULL), Response(status=200)]
    replies = [encode_reply(asked, answers, None), encode_timetable(SEARCH, [FULL, BARE])]
    requests = [encode_group(Group(id="g1", steps=REQUESTS)), encode_group(SEARCH)]
    return {"groups": [*map(json.loads, requests)], "replies": [*map(json.loads, replies)]}


def test_a_message_has_the_form_of_its_golden_file() -> None:
    """A change of this file is a change of the protocol: other releases read the old form."""
    assert golden() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_request_comes_back_as_it_was() -> None:
    assert {type(one) for one in REQUESTS} == set(get_args(ScheduleRequest))
    assert there_and_back(*REQUESTS) == REQUESTS
    [search] = decode_requests(encode_requests([encode_group(SEARCH)]))
    assert search == SEARCH


def test_every_answer_comes_back_as_it_was() -> None:
    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))["replies"]
    encoded = [json.dumps(reply).encode() for reply in kept]
    one, found = decode_replies(encode_replies(5, encoded, [])).replies
    assert one.responses == (Response(status=200, schedule=FULL), Response(status=200))
    assert found.schedules == (FULL, BARE)
    assert found.responses == (Response(status=200),)


def test_a_timetable_that_would_be_too_long_is_refused_with_the_remedy() -> None:
    large = replace(FULL, param=Value({}, "x" * 1_400_000))
    [reply] = decode_replies(
        encode_replies(5, [encode_timetable(SEARCH, [large] * 10)], [])
    ).replies
    assert (reply.responses[0].status, reply.schedules) == (400, ())
    assert "limit" in reply.responses[0].error


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (create(id="a:b"), "steps[0].id: id 'a:b' holds a colon"),
        (create(id="a\nb"), "control character"),
        (create(id=""), "the id is empty"),
        (create(id="x" * (MAX_SCHEDULE_ID + 1)), "is 151 bytes long; at most 150"),
        (create(cron="61 * * * *"), "steps[0].cron: cron '61 * * * *': bad minute"),
        (create(cron=None), "steps[0].cron: a string is expected"),
        (create(cron="* * * *"), "steps[0].cron: cron '* * * *': wrong number of fields"),
        (create(promiseTimeout=0), "steps[0].promiseTimeout: 0 is not positive"),
        (create(promiseTimeout=LONGEST_MS + 1), "ms is longer than"),
        (create(promiseTags={}), "steps[0].promiseTags: resonate:target is missing"),
        (create(promiseTags={TARGET: "a b"}), "steps[0].promiseTags: target 'a b'"),
        (
            create(promiseTags={TARGET: "a"} | {f"t{n}": "" for n in range(MAX_NAMES - OWN_TAGS)}),
            "steps[0].promiseTags: 61 are too many; 60 at most",
        ),
        (step("schedule.trigger", id="n"), "steps[0].promise: a string is expected"),
        (step("schedule.trigger", id="n", promise="n:1"), "steps[0].promise: id 'n:1' holds a"),
        (step("schedule.search"), "steps[0].limit: an integer is expected"),
    ],
)
def test_what_cannot_be_is_refused_naming_the_field(asked: dict[str, Any], reason: str) -> None:
    assert reason in refusal(asked).replace("data.", "")


def test_a_target_is_kept_in_its_canonical_form() -> None:
    [group] = decode_requests(encode_requests([json.dumps(_group(create())).encode()]))
    assert isinstance(group, Group)
    [asked] = group.steps
    assert isinstance(asked, ScheduleCreate)
    assert asked.tags == {TARGET: "poll://any@shop"}
    assert asked.param == EMPTY


def test_a_search_finds_no_more_than_an_answer_may_hold() -> None:
    [group] = decode_requests(
        encode_requests([json.dumps(_group(step("schedule.search", limit=10**9))).encode()])
    )
    assert isinstance(group, Group)
    assert group.steps == (ScheduleSearch(limit=10_000),)


def _group(*steps: Any) -> dict[str, Any]:
    return {"id": "g1", "steps": list(steps)}
