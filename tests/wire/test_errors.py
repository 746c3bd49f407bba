"""Errors: what a body raised, as its caller sees it."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from resonate_amqp.core.model import PromiseState, Value
from resonate_amqp.errors import Canceled, Encoding, RemoteError, TimedOut
from resonate_amqp.wire.codec import encode, encode_error, error_of, result_of
from resonate_amqp.wire.failures import MAX_MESSAGE
from tests.wire.raising import Declined, Mute, Picky, raised, rejected


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such colour"),
        KeyError("id"),
        FileNotFoundError(2, "No such file", "a.txt"),
        ZeroDivisionError(),
        RuntimeError("two", 2),
        ValueError({"price": [1, None]}),
    ],
)
def test_a_builtin_error_comes_back_as_its_own_type(error: Exception) -> None:
    back = raised(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert isinstance(back.__cause__, RemoteError)
    assert back.__cause__.type_name == type(error).__name__
    assert back.__cause__.message == str(error)
    assert "in raised" in back.__cause__.remote_traceback


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Declined("4711", limit=5), "card 4711 is over its limit of 5"),
        (Picky(), "('one', 'two')"),
    ],
)
def test_an_error_of_an_application_is_a_remote_error_with_its_type(
    error: Exception, message: str
) -> None:
    back = raised(error)
    assert type(back) is RemoteError
    assert back.message == message
    assert back.type_name == f"{Declined.__module__}.{type(error).__name__}"
    assert f"{type(error).__name__}: {message}" in back.remote_traceback


@pytest.mark.parametrize(
    "error",
    [
        BaseExceptionGroup("several", [KeyboardInterrupt()]),
        SystemExit(3),
        KeyboardInterrupt(),
    ],
)
def test_a_builtin_that_cannot_be_built_again_is_a_remote_error(error: BaseException) -> None:
    back = raised(error)
    assert type(back) is RemoteError
    assert back.type_name == type(error).__name__


@pytest.mark.parametrize("argument", [object(), {1: 2}, float("nan"), {3}, b"raw"])
def test_arguments_that_json_cannot_hold_are_left_to_the_message(argument: Any) -> None:
    back = raised(ValueError(argument))
    assert type(back) is ValueError
    assert back.args == (str(ValueError(argument)),)


@pytest.mark.parametrize(
    "error", [ValueError("lone \ud800"), RemoteError("lone \ud800", "Odd\udfff", "tb \ud800")]
)
def test_a_lone_surrogate_in_an_error_is_written_out(error: Exception) -> None:
    back = raised(error)
    assert type(back) is type(error)
    assert r"lone \ud800" in str(back)
    assert str(back).isascii()


@pytest.mark.parametrize(
    "error",
    [ValueError("x" * 3_000_000), RemoteError("x" * 3_000_000, "y" * 3_000_000, "z" * 3_000_000)],
)
def test_an_endless_message_is_cut(error: Exception) -> None:
    recorded = encode_error(error)
    assert len(recorded.data) < 4 * MAX_MESSAGE
    back = error_of(rejected(recorded))
    assert str(back).endswith("x")


def test_an_error_that_cannot_be_printed_still_has_its_type() -> None:
    back = raised(Mute())
    assert isinstance(back, RemoteError)
    assert back.type_name == f"{Mute.__module__}.Mute"


def test_the_traceback_of_a_remote_error_is_that_of_its_origin() -> None:
    """An error that passes through several processes still tells where it began."""
    first = raised(Declined("4711", limit=5))
    assert isinstance(first, RemoteError)
    second = raised(first)
    assert isinstance(second, RemoteError)
    assert second.type_name == first.type_name
    assert second.message == first.message
    assert second.remote_traceback.startswith(first.remote_traceback)


def test_a_promise_past_its_deadline_is_a_timeout() -> None:
    error = error_of(rejected(Value(), PromiseState.REJECTED_TIMEDOUT))
    assert isinstance(error, TimedOut)
    assert "'p'" in str(error)


def test_a_canceled_promise_is_a_cancellation() -> None:
    error = error_of(rejected(Value(), PromiseState.REJECTED_CANCELED))
    assert isinstance(error, Canceled)
    assert "'p'" in str(error)


def test_a_rejection_that_is_no_error_of_ours_is_shown_as_it_is() -> None:
    error = error_of(rejected(encode({"code": 7})))
    assert isinstance(error, RemoteError)
    assert error.message == '{"code": 7}'


def test_a_rejection_that_cannot_be_read_is_a_remote_error() -> None:
    error = error_of(rejected(Value({}, "*")))
    assert isinstance(error, RemoteError)
    assert error.type_name == "Encoding"


@pytest.mark.parametrize("args", [5, None, {"a": 1}, [[]] * 9])
def test_forged_arguments_do_not_escape(args: Any) -> None:
    record = {"__type": "error", "type": "UnicodeDecodeError", "message": "m", "args": args}
    assert isinstance(error_of(rejected(encode(record))), RemoteError)


@pytest.mark.parametrize("name", ["print", "BaseException", "", "object", "__import__"])
def test_a_forged_type_name_builds_nothing_but_exceptions(name: str) -> None:
    record = {"__type": "error", "type": name, "message": "m"}
    assert type(error_of(rejected(encode(record)))) is RemoteError


def test_a_resolved_promise_gives_its_value_and_any_other_raises() -> None:
    assert result_of(rejected(encode([3]), PromiseState.RESOLVED)) == [3]
    with pytest.raises(ZeroDivisionError):
        result_of(rejected(encode_error(ZeroDivisionError("x"))))
    with pytest.raises(Encoding):
        result_of(rejected(Value({}, "*"), PromiseState.RESOLVED))


def test_an_error_keeps_its_cause_in_the_traceback() -> None:
    def fails() -> NoReturn:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner

    with pytest.raises(ValueError, match="outer") as caught:
        fails()
    back = error_of(rejected(encode_error(caught.value))).__cause__
    assert isinstance(back, RemoteError)
    assert "KeyError: 'inner'" in back.remote_traceback
