"""A caller from outside: calls a function under each given id and prints what becomes of it.

    python -m tests.scenarios.gateway FUNCTION TARGET ID[=ARGUMENT]…

One JSON object a line: `{"id", "recorded"}` when the call is recorded, then `{"id", "result"}`
or `{"id", "error", "message"}`. The calls are shared out to two threads, each of which records
all of its calls before it waits for their results.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from resonate_amqp import Resonate
from resonate_amqp.errors import ResonateError
from tests.scenarios.journal import own_journal

THREADS = 2


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def call(resonate: Resonate, function: str, given: list[str]) -> None:
    handles = []
    for one in given:
        promise_id, _, argument = one.partition("=")
        arguments = [int(argument)] if argument else []
        try:
            handles.append(resonate.rpc(promise_id, function, *arguments))
            say(id=promise_id, recorded=True)
        except ResonateError as error:
            say(id=promise_id, error=type(error).__name__, message=str(error))
    for handle in handles:
        say(id=handle.id, result=handle.result())


def main() -> None:
    function, target, *given = sys.argv[1:]
    resonate = Resonate(group="gateway").options(target=target)
    say(ready=True)
    own_journal().pass_gate("gateway")
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda n: call(resonate, function, given[n::THREADS]), range(THREADS)))


if __name__ == "__main__":
    main()
