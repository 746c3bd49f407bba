"""The nine services of the demo, and what each registers.

gateway ── await-chain ──▶ a: foo ──▶ b: bar ──▶ c: baz
gateway ── detached ─────▶ d: qux ⇢ e: quz ⇢ f: cog
gateway ── fan-out ──────▶ g: zim ──▶ h: rax
                                 └──▶ i: dop
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.context import Context

Workflow = Generator[Any, Any, Any]
Pause = Callable[[str], None]
"""Called with `b` once b has c's result, and with `c` when c begins: where the demo may crash."""

LETTERS = "abcdefghi"


def target(letter: str) -> str:
    """Where a service is called."""
    return f"poll://any@service-{letter}"


def register(resonate: Resonate, letter: str, pause: Pause, say: Callable[[str], None]) -> None:
    """Register the function of one service."""

    def foo(ctx: Context) -> Workflow:
        result = yield ctx.rfc("bar").options(target=target("b"))
        return result + 1

    def bar(ctx: Context) -> Workflow:
        result = yield ctx.rfc("baz").options(target=target("c"))
        yield ctx.lfc(ponder, result)
        return result + 1

    def ponder(_ctx: Context, _result: int) -> None:
        pause("b")

    def baz(_ctx: Context) -> int:
        pause("c")
        return 1

    def qux(ctx: Context, arg: int) -> Workflow:
        yield ctx.detached("quz", arg + 1).options(target=target("e"))

    def quz(ctx: Context, arg: int) -> Workflow:
        yield ctx.detached("cog", arg + 1).options(target=target("f"))

    def cog(_ctx: Context, arg: int) -> None:
        say(f"cog was given {arg}")

    def zim(ctx: Context, arg: int) -> Workflow:
        one = yield ctx.rfi("rax", arg).options(target=target("h"))
        other = yield ctx.rfi("dop", arg).options(target=target("i"))
        return arg + (yield one) + (yield other)

    def rax(_ctx: Context, arg: int) -> int:
        return arg

    def dop(_ctx: Context, arg: int) -> int:
        return arg

    functions: tuple[Callable[..., Any], ...] = (foo, bar, baz, qux, quz, cog, zim, rax, dop)
    resonate.register(functions[LETTERS.index(letter)])
