"""Registered errors: raised as themselves, with what happened remotely as their cause."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Context, RemoteError, Resonate, UsageError

Body = Generator[Any, Any, Any]
WAIT_S = 10


class Declined(Exception):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


class Awkward(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}", "and more")


def declines(_ctx: Context) -> None:
    raise Declined("card expired", 54)


def test_a_registered_error_is_raised_as_itself_to_a_caller(resonate: Resonate) -> None:
    resonate.register(declines)
    resonate.register_error(Declined)
    with pytest.raises(Declined) as caught:
        resonate.rpc("id", "declines").result(WAIT_S)
    assert caught.value.args == ("card expired", 54)
    assert caught.value.code == 54
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteError)
    assert cause.type_name == f"{__name__}.Declined"
    assert "in declines" in cause.remote_traceback


@pytest.mark.parametrize("how", ["rfc", "lfc"])
def test_a_workflow_catches_it_by_its_type(resonate: Resonate, how: str) -> None:
    resonate.register(declines)
    resonate.register_error(Declined)

    @resonate.register
    def flow(ctx: Context) -> Body:
        try:
            yield getattr(ctx, how)("declines")
        except Declined as error:
            return error.code

    assert resonate.rpc("flow", flow).result(WAIT_S) == 54


def test_it_keeps_its_type_through_every_caller(resonate: Resonate) -> None:
    resonate.register(declines)
    resonate.register_error(Declined)

    @resonate.register
    def flow(ctx: Context) -> Body:
        yield ctx.rfc("declines")

    with pytest.raises(Declined) as caught:
        resonate.rpc("flow", flow).result(WAIT_S)
    assert "in declines" in str(getattr(caught.value.__cause__, "remote_traceback", ""))


def test_registering_is_a_class_decorator(resonate: Resonate) -> None:
    @resonate.register_error
    class Own(Exception):
        pass

    @resonate.register
    def fails(_ctx: Context) -> None:
        raise Own("x")

    with pytest.raises(Own, match="x"):
        resonate.rpc("id", fails).result(WAIT_S)


def test_a_name_can_be_given_for_a_type_that_has_another_elsewhere(resonate: Resonate) -> None:
    resonate.register(declines)
    resonate.register_error(LookupError, name=f"{__name__}.Declined")
    with pytest.raises(LookupError, match="card expired"):
        resonate.rpc("id", "declines").result(WAIT_S)


def test_an_error_that_cannot_be_made_again_comes_as_remote_error(resonate: Resonate) -> None:
    resonate.register_error(Awkward)

    @resonate.register
    def fails(_ctx: Context) -> None:
        raise Awkward(3)

    with pytest.raises(RemoteError, match="code 3") as caught:
        resonate.rpc("id", fails).result(WAIT_S)
    assert caught.value.type_name == f"{__name__}.Awkward"


def test_errors_are_registered_per_instance(resonate: Resonate) -> None:
    resonate.register(declines)
    other = Resonate(group="other")
    other.register_error(Declined)
    with pytest.raises(RemoteError):
        resonate.rpc("id", "declines").result(WAIT_S)
    with pytest.raises(UsageError, match="not a subclass of Exception"):
        resonate.register_error(KeyboardInterrupt)  # type: ignore[type-var]  # is refused
