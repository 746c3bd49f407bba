"""Which exit code and text an error stands for."""

from __future__ import annotations

import pytest

from resonate_amqp.cli.output import exit_code_of, text_of
from resonate_amqp.core.model import Promise, PromiseState, Value
from resonate_amqp.errors import BrokerError, InvalidId, RemoteError, TimedOut
from resonate_amqp.wire.codec import encode_error, error_of


@pytest.mark.parametrize("raised", [ValueError("bad"), TimeoutError("late"), KeyError("x")])
def test_a_remote_error_of_a_builtin_type_is_a_rejection_with_its_type(raised: Exception) -> None:
    error = error_of(
        Promise(
            id="call",
            state=PromiseState.REJECTED,
            param=Value(),
            tags={},
            timeout_at=2,
            created_at=1,
            value=encode_error(raised),
        )
    )

    assert type(error) is type(raised)
    assert exit_code_of(error) == 3
    assert text_of(error).splitlines()[0] == f"{type(raised).__name__}: {raised}"


def test_a_remote_error_is_told_with_the_lines_where_it_was_raised() -> None:
    remote = RemoteError("no", "shop.OutOfStock", "Traceback (most recent call last):\n  in sell\n")
    own = ValueError("no")
    own.__cause__ = remote
    for error in (remote, own):
        assert text_of(error).startswith("shop.OutOfStock: no\n")
        assert "in sell" in text_of(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RemoteError("no", "shop.OutOfStock"), 3),
        (TimedOut("late"), 4),
        (TimeoutError("not settled"), 4),
        (InvalidId("colon"), 2),
        (BrokerError("gone"), 69),
        (ZeroDivisionError(), None),
    ],
)
def test_an_error_of_ours_has_the_code_of_its_kind(error: Exception, code: int | None) -> None:
    assert exit_code_of(error) == code
