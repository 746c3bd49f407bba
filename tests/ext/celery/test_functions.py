"""Functions as shops write them: inherited, wrapped, partial, with arguments of any name."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import Celery, Task
from celery.app.task import Context as Request

from resonate_amqp import Context, Resonate, UsageError
from resonate_amqp.ext.celery import DurableTask, durable
from resonate_amqp.ext.celery.made import made_in
from resonate_amqp.ext.celery.shapes import Shape

if TYPE_CHECKING:
    from celery.app.task import Context as OrderContext

Body = Generator[Any, Any, Any]

app = Celery("functions", set_as_current=False)
app.conf.task_always_eager = True
resonate = Resonate("amqp://nobody.invalid", group="functions")


def task(func: Callable[..., Any], **options: Any) -> Any:
    """A task of this module's app, with a name of its own."""
    return app.task(shared=False, name=f"task-{len(app.tasks)}", **options)(func)


def double(_ctx: Context, number: int) -> int:
    return 2 * number


def flow(ctx: Context, number: int) -> Body:
    return (yield ctx.lfc(double, number))


def unmarked(func: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return run


class Base(DurableTask):
    abstract = True
    resonate = resonate

    def run(self, ctx: Context, number: int) -> Body:
        return (yield ctx.lfc(double, number))


class Child(Base):
    name = "child"

    def run(self, ctx: Context, number: int) -> Body:
        doubled = yield from super().run(ctx, number)
        return [self.name, doubled]


class Grandchild(Child):
    name = "grandchild"

    def run(self, ctx: Context, number: int) -> Any:
        return super().run(ctx=ctx, number=number + 1)


class Decorated(Task):
    name = "decorated"

    @durable(resonate)
    def run(self, ctx: Context, number: int) -> Body:
        return (yield ctx.lfc(double, number))


class DecoratedChild(Decorated):
    name = "decorated-child"

    @durable(resonate)
    def run(self, ctx: Context, number: int) -> Body:
        return [(yield from super().run(ctx, number))]


class Mixin:
    def run(self, ctx: Context, number: int) -> Body:
        return (yield ctx.lfc(double, number))


class Mixed(Mixin, DurableTask):
    name = "mixed"
    resonate = resonate


class Twice(DurableTask):
    name = "twice"
    resonate = resonate

    @unmarked
    @durable(resonate)
    def run(self, ctx: Context, number: int) -> Body:
        return (yield ctx.lfc(double, number))


@pytest.mark.parametrize(
    ("made", "ended"),
    [
        (Mixed, 6),
        (Twice, 6),
        (Child, ["child", 6]),
        (Grandchild, ["grandchild", 8]),
        (Decorated, 6),
        (DecoratedChild, [6]),
    ],
)
def test_a_class_goes_on_in_the_body_of_the_class_it_inherits_from(
    made: type[Task], ended: Any
) -> None:
    assert app.register_task(made()).delay(3).get() == ended


def marked(func: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(func)(unmarked(func))


@pytest.mark.parametrize("decorator", [unmarked, marked])
def test_a_body_in_a_plain_wrapper_is_driven(decorator: Callable[..., Any]) -> None:
    made = durable(resonate)(decorator(flow))
    assert list(inspect.signature(made).parameters) == ["number"]
    assert task(made).delay(3).get() == 6
    assert task(durable(resonate)(decorator(decorator(flow)))).delay(number=4).get() == 8


class Doubling:
    """A task of the shop's that is an object."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, number: int) -> int:
        return self.factor * number

    def run(self, ctx: Context, number: int) -> Body:
        return (yield ctx.lfc(double, self.factor * number))


class Flowing(Doubling):
    def __call__(self, ctx: Context, number: int) -> Body:  # type: ignore[override]  # a workflow
        return (yield ctx.lfc(double, self.factor * number))


def scaled(ctx: Context, factor: int, number: int) -> Body:
    return (yield ctx.lfc(double, factor * number))


@pytest.mark.parametrize(
    ("func", "name", "ended"),
    [
        (functools.partial(scaled, factor=3), "scaled", 18),
        (Doubling(2), "Doubling", 6),
        (Flowing(2), "Flowing", 12),
        (Doubling(3).run, "run", 18),
        (staticmethod(flow), "flow", 6),
    ],
)
def test_whatever_can_be_called_is_made_durable(func: Any, name: str, ended: int) -> None:
    made = durable(resonate)(func)
    assert made.__name__ == name
    assert task(made).delay(number=3).get() == ended


def finishing(func: Callable[..., Any]) -> Callable[..., Any]:
    """It makes a value of what Celery does not take: a coroutine, or a generator of values."""

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        made = func(*args, **kwargs)
        return asyncio.run(made) if inspect.iscoroutine(made) else list(made)

    return run


@finishing
async def fetched(number: int) -> int:
    await asyncio.sleep(0)
    return number


@finishing
def counted(number: int) -> Generator[int, None, None]:
    yield from range(number)


def test_a_decorator_that_makes_a_value_of_a_coroutine_or_generator_is_left_to_it() -> None:
    made = durable(resonate)(fetched)
    assert (made.__name__, made.__module__) == ("fetched", __name__)
    assert task(made).delay(3).get() == 3
    assert task(durable(resonate)(counted)).delay(3).get() == [0, 1, 2]


@pytest.mark.parametrize(
    ("func", "remedy"),
    [
        (lambda number: number, "write a def"),
        (Doubling, r"write @durable\(…\) on its method run"),
        (Child, r"write @durable\(…\) on its method run"),
        (classmethod(print), "is no function"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_a_remedy(func: Any, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        durable(resonate)(func)


def of_an_order(ctx: dict[str, int], number: int) -> int:
    return ctx["base"] + number


def of_an_unknown_type(ctx: OrderContext, number: int) -> Any:
    return [ctx, number]


def defaulted(ctx=None, number=1):  # type: ignore[no-untyped-def]  # so
    return [ctx, number]


def untold(ctx, number):  # type: ignore[no-untyped-def]  # the shop's
    return [ctx, number]


def test_an_argument_of_the_contexts_name_is_an_argument_if_it_says_so() -> None:
    assert task(durable(resonate)(of_an_order)).delay({"base": 1}, 2).get() == 3
    assert Shape.of(of_an_unknown_type).context is None
    made = task(durable(resonate, context=False)(untold))
    assert made.delay({"base": 1}, 2).get() == [{"base": 1}, 2]
    assert made.delay(ctx=1, number=2).get() == [1, 2]
    assert task(durable(resonate)(defaulted)).delay(number=2).get() == [None, 2]


def test_a_call_that_does_not_fit_because_of_the_context_says_what_to_write() -> None:
    made = task(durable(resonate)(untold))
    with pytest.raises(TypeError, match=r"annotate it with its own type, or .*context=False"):
        made.apply(({"base": 1}, 2)).get()
    with pytest.raises(TypeError, match="multiple values for argument 'ctx'; its parameter 'ctx'"):
        made.apply((), {"ctx": 1, "number": 2}).get()


def test_a_generator_whose_first_parameter_is_an_argument_is_told_to_take_a_context() -> None:
    def mailed(order: str) -> Body:
        yield order

    with pytest.raises(UsageError, match=r"write it as def mailed\(ctx, order\)"):
        durable(resonate)(mailed)


def test_an_errback_that_celery_calls_as_a_function_says_what_to_write() -> None:
    def on_error(ctx: Context, request: Any, exc: Any, traceback: Any) -> Body:
        yield ctx.lfc(double, 1)

    def on_error_of(ctx: Context, task_id: str) -> Body:
        heard.append((yield ctx.lfc(double, 1)))
        heard.append(task_id)

    def fail() -> None:
        raise KeyError("always")

    heard: list[Any] = []
    made = task(durable(resonate)(on_error))
    with pytest.raises(UsageError, match=r"Let it take .*\(ctx, task_id\)"):
        made(Request({"id": "x"}), KeyError("x"), None)
    failing = task(durable(resonate)(fail))
    sent = failing.apply_async(
        task_id="failed", link_error=task(durable(resonate)(on_error_of)).s()
    )
    assert sent.failed()
    assert heard == [2, "failed"]


class Session:
    """Something that no message carries."""


def test_what_a_decorator_hands_in_is_not_recorded() -> None:
    named: list[Any] = []

    def identity(order: dict[str, Any]) -> str:
        named.append(order)
        return f"order-{order['id']}"

    def with_session(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def run(order: dict[str, Any]) -> Any:
            return func(Session(), {**order, "seen": {1}}, mode=Session)

        return run

    @with_session
    @durable(resonate, id=identity)
    def order_of(session: Session, order: dict[str, Any], mode: Any) -> list[Any]:
        return [type(session).__name__, order["id"], len(order["seen"]), mode is Session]

    assert task(order_of).delay({"id": 7}).get() == ["Session", 7, 1, True]
    assert named == [{"id": 7}]


def test_an_argument_that_cannot_be_recorded_is_named_with_a_remedy() -> None:
    made = task(durable(resonate)(of_an_order))
    with pytest.raises(
        Exception, match=r"args\[0\]\.tags: set .*register_type\(set, 'set', sorted"
    ):
        made.apply(({"tags": {1}}, 2)).get()
    with pytest.raises(Exception, match=r"kwargs\.ctx\.by\[0\]: Session .*to_plain, from_plain"):
        made.apply((), {"ctx": {"by": [Session()]}, "number": 1}).get()


@pytest.mark.skipif(celery.VERSION < (5, 5), reason="Celery 5.5 brought pydantic=True")
def test_a_task_of_pydantic_models_records_what_its_message_holds() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[name-defined]  # it may be absent
        number: int
        tags: set[str]

    def grow(order: Any) -> Any:
        return Order(number=order.number + 1, tags=order.tags)

    def flow_of(ctx: Context, order: Any) -> Body:
        return Order(number=(yield ctx.lfc(double, order.number)), tags=order.tags)

    grow.__annotations__ |= {"order": Order, "return": Order}
    flow_of.__annotations__ |= {"order": Order, "return": Generator[Any, Any, Order]}
    made = task(durable(resonate)(grow), pydantic=True)
    given = {"number": 1, "tags": ["a"]}
    assert made.delay(given).get() == {"number": 2, "tags": ["a"]}
    ended = made.apply((given,), task_id="twice").get()
    assert ended == made.apply((given,), task_id="twice").get()
    assert task(durable(resonate)(flow_of), pydantic=True).delay(given).get() == given | {
        "number": 2
    }


@pytest.mark.parametrize("held", ["closure", "partial", "method", "attribute", "list", "default"])
def test_a_durable_function_is_found_wherever_a_decorator_keeps_it(held: str) -> None:
    made = durable(resonate)(flow)

    class Keeper:
        def __init__(self) -> None:
            self.func = made

        def call(self, *args: Any) -> Any:
            return self.func(*args)

    keeper, several = Keeper(), [made]
    found: dict[str, Callable[..., Any]] = {
        "closure": unmarked(unmarked(made)),
        "partial": functools.partial(unmarked(made), 1),
        "method": keeper.call,
        "attribute": lambda *args: keeper.func(*args),
        "list": lambda *args: several[0](*args),
        "default": lambda *args, func=made: func(*args),
    }
    assert made_in(found[held]) is made_in(made) is not None


def test_of_several_durable_functions_it_is_not_guessed_which_one_runs() -> None:
    first, second = durable(resonate)(flow), durable(resonate)(flow)
    several: dict[str, Callable[..., Any]] = {"one": first, "other": second, "plain": print}

    def pick(name: str) -> Any:
        return several[name]()

    def either(name: str) -> Any:
        return first() if name else second()

    assert made_in(pick) is made_in(either) is None
    assert made_in(marked(first)) is made_in(first) is not made_in(second)

    @durable(resonate)
    def calling() -> None:
        either("one")

    assert made_in(unmarked(calling)) is made_in(calling) is not None


def test_another_task_that_a_function_calls_makes_it_not_durable() -> None:
    other = task(durable(resonate)(flow))

    def plain() -> None:
        other.delay(1)

    assert made_in(plain) is None
