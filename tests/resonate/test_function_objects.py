"""A function object stands for exactly what is registered."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import pytest

from resonate_amqp import Context, Resonate, UnknownFunction, UsageError
from resonate_amqp.testing import System

Flow = Generator[Any, Any, Any]


class Till:
    def __init__(self, owner: str) -> None:
        self.owner = owner

    def pay(self, _ctx: Context) -> str:
        return f"paid by {self.owner}"


def of_another_module() -> Callable[[Context], str]:
    def pay(_ctx: Context) -> str:
        return "another"

    return pay


@pytest.fixture
def system() -> Generator[System, None, None]:
    with System() as system:
        yield system


@pytest.fixture
def ann() -> Till:
    return Till("Ann")


@pytest.fixture
def resonate(system: System, ann: Till) -> Resonate:
    resonate = system.resonate("tills")
    resonate.register(ann.pay)
    return resonate


def test_a_registered_bound_method_is_called_by_itself_from_everywhere(
    resonate: Resonate, ann: Till
) -> None:
    @resonate.register
    def flow(ctx: Context) -> Flow:
        return [(yield ctx.rfc(ann.pay)), (yield ctx.lfc(ann.pay))]

    assert resonate.rpc("outside", ann.pay).result() == "paid by Ann"
    assert resonate.run("here", ann.pay).result() == "paid by Ann"
    assert resonate.rpc("flow", flow).result() == ["paid by Ann", "paid by Ann"]


def wrapped(ann: Till) -> Any:
    @functools.wraps(ann.pay)
    def wrapper(*args: Any) -> Any:
        return ann.pay(*args)

    return wrapper


OTHERS: dict[str, Callable[[Till], Any]] = {
    "a method of another instance": lambda _ann: Till("Bob").pay,
    "a function of another module": lambda _ann: of_another_module(),
    "a wrapper": wrapped,
    "what a class holds": lambda _ann: Till.pay,
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_object_of_the_same_name_is_refused_naming_both(
    resonate: Resonate, ann: Till, other: Callable[[Till], Any]
) -> None:
    found = other(ann)

    @resonate.register
    def flow(ctx: Context, target: str | None) -> Flow:
        try:
            yield ctx.rfc(found).options(target=target)
        except UsageError as error:
            return str(error)

    texts = [resonate.rpc(f"flow {target}", flow, target).result() for target in (None, "tills")]
    for call in (resonate.rpc, resonate.run, resonate.options(target="tills").rpc):
        with pytest.raises(UsageError) as refused:
            call("outside", found)
        texts.append(str(refused.value))
    with pytest.raises(UsageError) as refused:
        resonate.schedule("every", "* * * * *", found)
    texts.append(str(refused.value))
    for text in texts:
        assert f"{found!r} is not registered here" in text
        assert f"'pay' is {ann.pay!r}" in text
    assert [one.id for one, _ in resonate.tree("outside")] == []


def test_an_object_that_is_not_registered_names_a_function_of_another_group(
    system: System, resonate: Resonate
) -> None:
    other = system.resonate("others")
    bob = Till("Bob")
    other.register(bob.pay)

    @resonate.register
    def flow(ctx: Context) -> Flow:
        return (yield ctx.rfc(bob.pay).options(target="others"))

    assert resonate.rpc("flow", flow).result() == "paid by Bob"
    assert resonate.options(target="others").rpc("out", bob.pay).result() == "paid by Bob"


def test_an_object_whose_name_nobody_registered_is_unknown(resonate: Resonate) -> None:
    def stranger(_ctx: Context) -> None: ...

    with pytest.raises(UnknownFunction, match="'stranger' is not registered"):
        resonate.rpc("x", stranger)


def test_a_local_step_runs_the_very_object_it_was_given(resonate: Resonate) -> None:
    bob = Till("Bob")

    @resonate.register
    def flow(ctx: Context) -> Flow:
        return [(yield ctx.lfc(bob.pay)), (yield ctx.lfc(of_another_module()))]

    assert resonate.rpc("flow", flow).result() == ["paid by Bob", "another"]


def test_what_register_gave_back_is_what_it_was_given(resonate: Resonate) -> None:
    @resonate.register(name="registered")
    def plain(_ctx: Context) -> int:
        return 1

    assert resonate.rpc("a", plain).result() == 1
    assert resonate.rpc("b", plain.durable_function).result() == 1
