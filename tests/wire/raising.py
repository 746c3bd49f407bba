"""Errors to raise in tests, and what their caller gets."""

from __future__ import annotations

import traceback

from resonate_amqp.core.model import Promise, PromiseState, Value
from resonate_amqp.wire.codec import encode_error, error_of


class Declined(Exception):
    """An application's own error, which takes more than a message."""

    def __init__(self, card: str, *, limit: int) -> None:
        super().__init__(f"card {card} is over its limit of {limit}")


class Picky(Exception):
    """An error whose constructor refuses everything it can be given back."""

    def __init__(self) -> None:
        super().__init__("one", "two")


class Several(ExceptionGroup[Exception]):
    """A group of an application."""


class Refused(Exception):
    """An error that takes all its arguments."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)


class Unprintable:
    """What may be found where a note is expected."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Mute(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def rejected(value: Value, state: PromiseState = PromiseState.REJECTED) -> Promise:
    return Promise(
        id="p", state=state, param=Value(), tags={}, timeout_at=2, created_at=1, value=value
    )


def raised(error: BaseException) -> Exception:
    """The error as the caller of a body gets it that raised it."""
    try:
        raise error
    except BaseException as caught:
        return error_of(rejected(encode_error(caught)))


def printed(error: BaseException) -> str:
    """What the caller sees who has the error printed."""
    return "".join(traceback.format_exception(error))
