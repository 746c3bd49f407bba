"""What is drawn or read once and recorded: random numbers and the time, as local steps.

Each call builds a command: `dice = yield ctx.random.randint(1, 6)`. The step draws from the
dependency `resonate:random` or `resonate:time`; by default these are the modules of the standard
library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from resonate_amqp.runtime.commands import Invoke

RANDOM = "resonate:random"
TIME = "resonate:time"

Call = Callable[..., Invoke]
T = TypeVar("T")


class RecordedRandom:
    """`ctx.random`: the same numbers on every replay."""

    def __init__(self, lfc: Call) -> None:
        self._lfc = lfc

    def random(self) -> Invoke:
        return self._draw("random")

    def betavariate(self, alpha: float, beta: float) -> Invoke:
        return self._draw("betavariate", alpha, beta)

    def choice(self, choices: Sequence[T]) -> Invoke:
        return self._draw("choice", list(choices))

    def expovariate(self, rate: float = 1.0) -> Invoke:
        return self._draw("expovariate", rate)

    def getrandbits(self, bits: int) -> Invoke:
        return self._draw("getrandbits", bits)

    def randint(self, lowest: int, highest: int) -> Invoke:
        return self._draw("randint", lowest, highest)

    def randrange(self, start: int, *stop_and_step: int) -> Invoke:
        return self._draw("randrange", start, *stop_and_step)

    def triangular(self, low: float = 0.0, high: float = 1.0, mode: float | None = None) -> Invoke:
        return self._draw("triangular", low, high, mode)

    def uniform(self, low: float, high: float) -> Invoke:
        return self._draw("uniform", low, high)

    def uuid4(self) -> Invoke:
        """A random UUID, as a string."""
        return self._lfc(_uuid4)

    def _draw(self, method: str, *args: Any) -> Invoke:
        return self._lfc(_DRAWS[method], *args)


class RecordedTime:
    """`ctx.time`: the time at which a step ran, the same on every replay."""

    def __init__(self, lfc: Call) -> None:
        self._lfc = lfc

    def time(self) -> Invoke:
        """Seconds since the epoch."""
        return self._lfc(_TIMES["time"])

    def strftime(self, pattern: str) -> Invoke:
        """The local time, formatted."""
        return self._lfc(_TIMES["strftime"], pattern)


def _step(dependency: str, method: str) -> Callable[..., Any]:
    def step(ctx: Any, *args: Any) -> Any:
        return getattr(ctx.get_dependency(dependency), method)(*args)

    step.__name__ = f"{dependency.removeprefix('resonate:')}.{method}"
    return step


def _uuid4(ctx: Any) -> str:
    bits = ctx.get_dependency(RANDOM).getrandbits(128)
    # RFC 4122: the version in bits 76 to 79, the variant in bits 62 and 63.
    marked = bits & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
    digits = f"{marked:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


_uuid4.__name__ = "random.uuid4"
_DRAWS = {
    method: _step(RANDOM, method)
    for method in (
        "random",
        "betavariate",
        "choice",
        "expovariate",
        "getrandbits",
        "randint",
        "randrange",
        "triangular",
        "uniform",
    )
}
_TIMES = {method: _step(TIME, method) for method in ("time", "strftime")}
