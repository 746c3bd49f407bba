"""A test that uses a real server is marked for it, so that the everyday part starts none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.databases import ForeignPostgres
from resonate_amqp.dev.postgres import PrivatePostgres
from tests.marking import marks_given_by, marks_of
from tests.redis_server import PrivateRedis


class Node(PrivateBroker):
    """A server of a class derived in some test."""


def derived() -> Iterator[Node]:
    raise NotImplementedError


def direct() -> PrivateRedis:
    raise NotImplementedError


def either() -> Iterator[PrivatePostgres | ForeignPostgres]:
    raise NotImplementedError


def other() -> Iterator[Callable[[], PrivateBroker]]:
    raise NotImplementedError


def unannotated() -> Any:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("fixture", "marks"),
    [
        (derived, {"rabbitmq"}),
        (direct, {"redis"}),
        (either, {"postgres"}),
        (other, set()),
        (unannotated, set()),
    ],
)
def test_a_fixture_marks_its_tests_by_the_server_it_gives(
    fixture: Callable[..., Any], marks: set[str]
) -> None:
    assert marks_given_by(fixture) == marks


def test_every_test_that_has_a_server_is_marked_for_it(request: pytest.FixtureRequest) -> None:
    """Of those selected: what `-m` took away was marked."""
    unmarked = [
        item.nodeid
        for item in request.session.items
        if marks_of(item) - {mark.name for mark in item.iter_markers()}
    ]
    assert unmarked == []
