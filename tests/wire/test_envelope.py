"""Messages: what one side writes the other reads, and the bytes are those of the golden files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.core.model import EXTERNAL, TARGET, PromiseState, Value
from resonate_amqp.core.requests import (
    Group,
    Lease,
    OriginGet,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    Response,
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
    TaskSuspend,
    Verdict,
)
from resonate_amqp.wire.envelope import (
    MAX_MESSAGE_BYTES,
    ExecuteMessage,
    Reply,
    decode_execute,
    decode_replies,
    decode_requests,
    encode_bad_reply,
    encode_dead,
    encode_execute,
    encode_group,
    encode_replies,
    encode_reply,
    encode_requests,
    encode_unblock,
)
from tests.wire.messages import ACQUIRED, HALTED, PENDING, RESOLVED, there_and_back

GOLDEN = Path(__file__).parent / "golden"

CREATE = PromiseCreate(
    id="order-42:1",
    timeout_at=2_000_000,
    param=Value({"func": "charge", "version": "1"}, "eyJmdW5jIjoiY2hhcmdlIn0="),
    tags={TARGET: "poll://any@billing"},
)
SETTLE = PromiseSettle(id="order-42:2", state=PromiseState.REJECTED, value=Value({}, "Mw=="))
REQUESTS: tuple[Request | OriginGet, ...] = (
    PromiseGet(id="order-42"),
    CREATE,
    PromiseCreate(id="order-43", timeout_at=-1, tags={EXTERNAL: "true"}),
    SETTLE,
    PromiseRegisterCallback(awaited="order-42:1", awaiter="order-42"),
    PromiseRegisterListener(awaited="order-42", address="resonate.reply.g.p.e"),
    TaskGet(id="order-42"),
    TaskCreate(pid="p1", ttl=60_000, holder="h1", action=CREATE),
    TaskAcquire(
        id="order-42",
        version=2,
        pid="p1",
        ttl=600_000,
        holder="h1",
        ticket="t1",
        redelivered=True,
        redeliveries=3,
    ),
    TaskFence(id="order-42", version=1, holder="h1", action=CREATE),
    TaskFence(id="order-42", version=1, holder="h1", action=SETTLE),
    TaskHeartbeat(pid="p1", tasks=(Lease(id="order-42", version=1, holder="h1"),)),
    TaskHeartbeat(pid="p1", tasks=()),
    TaskSuspend(id="order-42", version=1, holder="h1", awaited=("order-42:1", "order-42:3")),
    TaskFulfill(
        id="order-42",
        version=1,
        holder="h1",
        action=PromiseSettle(id="order-42", state=PromiseState.RESOLVED),
    ),
    TaskRelease(id="order-42", version=1, holder="h1", delay=5_000),
    TaskHalt(id="order-42", reason="it differs"),
    TaskContinue(id="order-42"),
    replace(CREATE, strict=True),
    TaskLease(id="order-42", version=1, holder="h1", ttl=60_000),
    TaskRelease(id="order-42", version=1, holder="h1", unknown="function 'pay' is not registered"),
    TaskHalt(id="order-42", reason="it differs", version=1, holder="h1"),
    TaskRedrive(id="order-42"),
)
RESPONSES = (
    Response(status=200, promise=PENDING, task=ACQUIRED, preload=(RESOLVED,), more=True),
    Response(status=200, promise=RESOLVED, applied=True),
    Response(status=200, lost=("order-42", "order-43")),
    Response(status=409, task=HALTED, verdict=Verdict.ACK, error="it is halted"),
    Response(status=409, verdict=Verdict.RETURN, error="leased"),
)
ALL = Group(id="g1", steps=REQUESTS)
EXECUTE = ExecuteMessage(promise=PENDING, version=2, ticket="t1", repeat=True, now=1_000_100)


def golden() -> dict[str, bytes]:
    """One message of each kind, by the name of its file."""
    asked = Group(id="g1", steps=tuple(PromiseGet(id="order-42:1.2") for _ in RESPONSES))
    answers = [
        encode_reply(asked, RESPONSES, None),
        encode_bad_reply("g2", "task.frobnicate", 400, "no request of this protocol"),
    ]
    tree = [(PENDING, ACQUIRED), (RESOLVED, None)]
    question = Group(id="g3", steps=(OriginGet("order-42"),))
    return {
        "requests": encode_requests(
            [encode_group(Group(id=f"g{n}", steps=(one,))) for n, one in enumerate(REQUESTS)]
            + [encode_group(question)]
        ),
        "replies": encode_replies(1_000_200, answers, []),
        "tree": encode_replies(
            1_000_200, [encode_reply(question, [Response(status=200)], tree)], []
        ),
        "unblock": encode_replies(1_000_200, [], [encode_unblock(RESOLVED)]),
        "execute": encode_execute(EXECUTE),
        "dead": encode_dead(b"{\xff", "message: it is not JSON", "resonate.ledger.0"),
    }


@pytest.mark.parametrize("name", list(golden()))
def test_a_message_has_the_form_of_its_golden_file(name: str) -> None:
    """A change of these files is a change of the protocol: other releases read the old form."""
    kept = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert json.loads(golden()[name]) == kept


def test_every_golden_message_can_be_read() -> None:
    kept = {path.stem: path.read_bytes() for path in GOLDEN.glob("*.json")}
    assert [
        group for group in decode_requests(kept["requests"]) if not isinstance(group, Group)
    ] == []
    assert decode_execute(kept["execute"]) == EXECUTE
    assert decode_replies(kept["replies"]).replies[0] == Reply("g1", RESPONSES)
    assert decode_replies(kept["unblock"]).unblocked == (RESOLVED,)
    shown = replace(ACQUIRED)
    assert decode_replies(kept["tree"]).replies[0].tree == [(PENDING, shown), (RESOLVED, None)]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one.kind)
def test_every_request_comes_back_as_it_was(request_: Request) -> None:
    assert there_and_back(request_) == (request_,)


def test_the_groups_of_a_message_stay_apart_and_in_order() -> None:
    sent = [Group(id=f"g{n}", steps=(PromiseGet(id=f"p{n}"),)) for n in range(3)]
    assert decode_requests(encode_requests([encode_group(group) for group in sent])) == sent


ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=60)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)
int64 = st.integers(-(2**63), 2**63 - 1)


@given(
    promise_id=ids,
    timeout_at=int64,
    headers=st.dictionaries(texts, texts, max_size=5),
    data=texts,
    tags=st.dictionaries(texts.filter(lambda name: name != TARGET), texts, max_size=5),
    strict=st.booleans(),
)
def test_whatever_text_a_create_holds_comes_back(
    promise_id: str,
    timeout_at: int,
    headers: dict[str, str],
    data: str,
    tags: dict[str, str],
    strict: bool,
) -> None:
    param = Value(headers, data)
    create = PromiseCreate(
        id=promise_id, timeout_at=timeout_at, param=param, tags=tags, strict=strict
    )
    assert there_and_back(create) == (create,)


@given(
    promise_id=ids,
    version=int64,
    ticket=texts,
    repeat=st.booleans(),
    now=int64,
    tags=st.dictionaries(texts, texts, max_size=5),
)
def test_whatever_text_an_execute_holds_comes_back(
    promise_id: str, version: int, ticket: str, repeat: bool, now: int, tags: dict[str, str]
) -> None:
    promise = replace(PENDING, id=promise_id, tags=tags)
    sent = ExecuteMessage(promise, version, ticket, repeat, now)
    assert decode_execute(encode_execute(sent)) == sent


@given(
    st.lists(
        st.builds(
            Response,
            status=st.sampled_from([200, 300, 400, 404, 409, 500]),
            promise=st.sampled_from([None, PENDING, RESOLVED]),
            task=st.sampled_from([None, ACQUIRED, HALTED]),
            more=st.booleans(),
            verdict=st.sampled_from([None, *Verdict]),
            error=texts,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_the_ledger_answers_comes_back(responses: list[Response]) -> None:
    asked = Group(id="g1", steps=tuple(PromiseGet(id="p") for _ in responses))
    body = encode_replies(5, [encode_reply(asked, responses, None)], [])
    assert decode_replies(body).replies == (Reply("g1", tuple(responses)),)


def test_a_dead_letter_shows_what_it_was_and_why() -> None:
    dead: dict[str, Any] = json.loads(golden()["dead"])
    assert dead["body"] == r"{\xff"
    assert dead["reason"] == "message: it is not JSON"
    assert dead["queue"] == "resonate.ledger.0"


def test_a_reply_that_would_be_too_long_tells_as_many_answers_as_fit() -> None:
    """Whoever asked asks again for the rest; a message the broker refuses would tell nothing."""
    large = replace(RESOLVED, value=Value({}, "x" * 1_400_000))
    asked = Group(id="g1", steps=tuple(PromiseGet(id="p") for _ in range(10)))
    body = encode_reply(asked, [Response(status=200, promise=large)] * 10, None)
    told = decode_replies(encode_replies(5, [body], [])).replies[0].responses
    assert 2 <= len(told) < 10
    assert all(response.promise == large for response in told)


def test_a_tree_that_would_be_too_long_is_refused_with_the_remedy() -> None:
    large = replace(RESOLVED, value=Value({}, "x" * 1_400_000))
    question = Group(id="g3", steps=(OriginGet("order-42"),))
    body = encode_reply(question, [Response(status=200)], [(large, None)] * 10)
    [reply] = decode_replies(encode_replies(5, [body], [])).replies
    assert len(body) < MAX_MESSAGE_BYTES
    assert reply.tree is None
    assert reply.responses[0].status == 400
    assert "limit" in reply.responses[0].error
