"""Where a command reads records: a ledger answers through the broker, or its database is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import click
from click.core import ParameterSource

from resonate_amqp.cli.options import broker_option, client, request_timeout, warn_of_password
from resonate_amqp.core.model import Promise, Task, TaskState
from resonate_amqp.resonate import Resonate
from resonate_amqp.settings import PREFIX, resolve

Pairs = Sequence[tuple[Promise, Task | None]]


class Records(Protocol):
    """What commands read; `limit` bounds what is answered, `older_s` is in seconds."""

    def tree(self, promise_id: str) -> Pairs: ...

    def tasks(self, states: Sequence[TaskState], older_s: float, limit: int) -> Pairs: ...

    def tagged(self, name: str, value: str, limit: int) -> Sequence[Promise]: ...

    def promise(self, promise_id: str) -> tuple[Promise, Task | None]:
        """A promise with its task; raises UsageError when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """Records as the ledger answers them."""

    resonate: Resonate

    def tree(self, promise_id: str) -> Pairs:
        return self.resonate.tree(promise_id)

    def tasks(self, states: Sequence[TaskState], older_s: float, limit: int) -> Pairs:
        return self.resonate.tasks.search(states, older=older_s, limit=limit)

    def tagged(self, name: str, value: str, limit: int) -> Sequence[Promise]:
        return self.resonate.promises.search(name, value, limit=limit)

    def promise(self, promise_id: str) -> tuple[Promise, Task | None]:
        promise = self.resonate.promises.get(promise_id)
        return promise, self.resonate.promises.task(promise_id) if promise.pending else None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the records are: a database, or else a broker with a ledger behind it."""

    broker_url: str
    ledger_url: str
    timeout_s: float

    @contextmanager
    def opened(self) -> Iterator[Records]:
        """The records, for the length of the block."""
        if self.ledger_url:
            from resonate_amqp.ledgers.reading import LedgerReader

            with closing(LedgerReader(self.ledger_url)) as reader:
                yield reader
            return
        resonate = client(self.broker_url, self.timeout_s)
        try:
            yield Answered(resonate)
        finally:
            resonate.stop()


def source(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--broker` or `--ledger`, as `source`; what is given counts more than the environment."""

    @click.option(
        "--ledger",
        "ledger_url",
        metavar="URL",
        help="Read this database instead, without a broker: sqlite:///FILE, postgresql://…, "
        "env:NAME or file:PATH. It may be in use, by an embedded system too.",
    )
    @broker_option()
    @request_timeout
    @functools.wraps(command)
    def reading(
        *args: Any, ledger_url: str | None, broker_url: str | None, timeout_s: float, **kwargs: Any
    ) -> Any:
        given = click.get_current_context().get_parameter_source("broker_url")
        if ledger_url and given is ParameterSource.COMMANDLINE:
            raise click.UsageError("give either --broker or --ledger")
        if not (ledger_url or broker_url):
            raise click.UsageError(
                f"give --broker or set {PREFIX}URL; or give --ledger to read a database"
            )
        warn_of_password(broker_url)
        where = Source(
            broker_url="" if ledger_url else resolve(broker_url or ""),
            ledger_url=resolve(ledger_url) if ledger_url else "",
            timeout_s=timeout_s,
        )
        return command(*args, source=where, **kwargs)

    return reading
