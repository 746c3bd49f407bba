"""Names on the broker: one canonical form of a target, and ids that may stand in a message."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.errors import Encoding, InvalidId, InvalidTarget
from resonate_amqp.wire.address import (
    CELERY,
    MAX_ID,
    MAX_ROOT_ID,
    QUEUE,
    canonical,
    check_id,
    check_name,
    check_root_id,
    foreign_id,
    group_of,
    is_foreign,
    is_reply_queue,
    queue_of,
    reply_queue,
    shard_key,
    shard_keys,
)
from resonate_amqp.wire.tags import check_tags

allowed = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=":")
names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(group=names, pid=names)
def test_every_form_of_a_target_has_one_canonical_form(group: str, pid: str) -> None:
    for form in (group, f"poll://{group}", f"poll://any@{group}", f"poll://any@{group}/{pid}"):
        assert canonical(form) == f"poll://any@{group}"
        assert queue_of(form) == f"resonate.any.{group}"
    unicast = f"poll://uni@{group}/{pid}"
    assert canonical(unicast) == unicast
    assert queue_of(unicast) == f"resonate.uni.{group}.{pid}"
    assert group_of(unicast) == group


queues = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=60
).filter(lambda name: not name.startswith(("resonate.", "amq.")))


@given(kind=st.sampled_from([CELERY, QUEUE]), name=queues)
def test_a_queue_of_others_keeps_its_name_through_its_canonical_form(kind: str, name: str) -> None:
    target = canonical(f"{kind}://{quote(name, safe='')}")
    assert canonical(target) == target
    assert target.isascii()
    assert queue_of(target) == name
    assert is_foreign(target)
    assert group_of(target) == ""


@pytest.mark.parametrize(
    ("target", "form", "queue"),
    [
        ("celery://payments", "celery://payments", "payments"),
        ("queue://rpc_queue", "queue://rpc_queue", "rpc_queue"),
        ("queue://shop/orders:v2@eu", "queue://shop/orders:v2@eu", "shop/orders:v2@eu"),
        ("queue://new orders", "queue://new%20orders", "new orders"),
        ("queue://new%20orders", "queue://new%20orders", "new orders"),
        ("celery://größe", "celery://gr%C3%B6%C3%9Fe", "größe"),
        ("celery://50%", "celery://50%25", "50%"),
        ("celery://%70ayments", "celery://payments", "payments"),
    ],
)
def test_a_queue_of_others_may_have_any_name(target: str, form: str, queue: str) -> None:
    assert (canonical(target), queue_of(target)) == (form, queue)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("celery://", "names no queue"),
        ("queue://", "names no queue"),
        ("celery://resonate.ledger.0", "not for calls"),
        ("celery://%72esonate.ledger.0", "not for calls"),
        ("queue://amq.gen-x", "not for calls"),
        ("queue://a%00b", "control character"),
        ("queue://a\nb", "control character"),
        ("queue://%ff", "not UTF-8"),
        ("queue://\ud800", "not UTF-8"),
        ("queue://" + "x" * 256, "at most 255 bytes"),
        ("redis://payments", "celery://QUEUE or queue://NAME"),
    ],
)
def test_a_name_that_no_queue_of_others_may_have_is_refused(target: str, problem: str) -> None:
    with pytest.raises(InvalidTarget, match=problem):
        canonical(target)


@pytest.mark.parametrize(
    "target",
    [
        "",
        " ",
        "poll://",
        "poll://any@",
        "poll://all@billing",
        "poll://uni@billing",
        "poll://uni@billing/",
        "poll://any@bil ling",
        "poll://any@billing/p/q",
        "poll://any@billing\n",
        "amqp://billing",
        "bil.ling",
        "resonate.any.billing",
        "a" * 65,
        "poll://any@" + "a" * 65,
        "grüße",
        "amq.direct",
    ],
)
def test_anything_else_is_refused_as_a_target_and_named(target: str) -> None:
    with pytest.raises(InvalidTarget) as refused:
        canonical(target)
    assert repr(target)[:20] in str(refused.value)


def test_a_target_without_its_pid_is_told_what_it_lacks() -> None:
    with pytest.raises(InvalidTarget, match=r"names no pid; write poll://uni@billing/PID"):
        canonical("poll://uni@billing")


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a/b", "é", "x" * 65, "a\n"])
def test_a_group_that_could_not_stand_in_a_queue_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidTarget, match="group"):
        check_name("group", name)


@given(st.text(allowed, min_size=1))
def test_text_without_colons_and_controls_is_an_id(text: str) -> None:
    if len(text.encode()) <= MAX_ROOT_ID:
        assert check_root_id(text) == text


@pytest.mark.parametrize(
    ("promise_id", "problem"),
    [
        ("", "empty"),
        ("order:42", "colon"),
        ("order\n42", "control character"),
        ("order\x0042", "control character"),
        ("order\x7f", "control character"),
        ("order\ud800", "lone surrogate"),
        ("x" * (MAX_ROOT_ID + 1), "201 bytes long; at most 200"),
        ("é" * 101, "202 bytes long; at most 200"),
    ],
)
def test_an_id_that_may_not_name_a_tree_is_refused_with_the_reason(
    promise_id: str, problem: str
) -> None:
    with pytest.raises(InvalidId, match=problem):
        check_root_id(promise_id)


def test_a_step_may_have_a_longer_id_with_colons() -> None:
    longest = "x" * MAX_ROOT_ID + ":" + "1" * (MAX_ID - MAX_ROOT_ID - 1)
    assert check_id(longest) == longest
    with pytest.raises(InvalidId, match="256 bytes long; at most 255"):
        check_id(longest + "1")


@given(root=names, number=st.integers(1, 99))
def test_a_tree_lives_on_one_shard(root: str, number: int) -> None:
    assert shard_key(f"{root}:{number}.1") == shard_key(root)
    assert shard_key(root) in shard_keys()


def test_the_longest_reply_queue_is_a_name_the_broker_takes() -> None:
    longest = reply_queue("g" * 64, "p" * 64, "0" * 16)
    assert is_reply_queue(longest)
    assert not is_reply_queue("resonate.reply." + "x" * 250)
    assert not is_reply_queue("resonate.any.billing")


def test_tags_that_can_be_recorded_are_kept_as_they_are() -> None:
    assert check_tags({"team": "café", "": ""}) == {"team": "café", "": ""}


@pytest.mark.parametrize(
    ("tags", "path"),
    [
        ({"a": 1}, "tags.a"),
        ({1: "a"}, "tags"),
        ({"a": "\0"}, "tags.a"),
        ({"\0": "a"}, "tags"),
        ({"a": "\ud800"}, "tags.a"),
        ({"\ud800": "a"}, "tags"),
        ({"a": "x" * 2049}, "tags.a"),
        ({str(number): "" for number in range(60)}, "tags"),
    ],
)
def test_a_tag_that_cannot_be_recorded_is_refused_by_its_name(
    tags: dict[Any, Any], path: str
) -> None:
    with pytest.raises(Encoding) as refused:
        check_tags(tags)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("foreign", "wanted"),
    [
        ("order:5", "order%3A5"),
        ("line\nbreak", "line%0Abreak"),
        ("50% off", "50%25 off"),
        ("order%3A5", "order%253A5"),
        ("Bücher/1", "Bücher/1"),
    ],
)
def test_a_foreign_id_is_encoded_only_where_it_must_be(foreign: str, wanted: str) -> None:
    assert foreign_id(foreign) == wanted


@given(st.text())
def test_a_foreign_id_is_one_of_ours_and_can_be_read_back(text: str) -> None:
    kept = foreign_id(text)
    assert unquote(kept) == text
    assert not re.search(r"[:\x00-\x1f\x7f]", kept)
