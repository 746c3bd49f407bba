"""Settings: read once, at the edge; argument before environment before default.

Every setting is a field of `Settings`; its environment variable is `RESONATE_AMQP_` and the
field's name in capitals. Durations are seconds unless the name says otherwise.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resonate_amqp.errors import UsageError

PREFIX = "RESONATE_AMQP_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set, with its default.

    `url` is the broker's (several joined by `;`), `ledger` the database's. Both may be given as
    `env:NAME` or `file:PATH`, and are resolved before they get here.
    """

    url: str = ""
    ledger: str = ""
    group: str = "default"
    pid: str = ""
    park_after: float = 60.0
    hold_max: float = 600.0
    grace: float = 30.0
    prefetch: int = 64
    threads: int = 32
    max_deliveries: int = 10
    queue_type: str = "quorum"
    topology: str = "declare"
    foreign: str = "*"
    timeout: float = 86_400.0
    request_timeout: float = 30.0
    lease: float = 600.0
    refresh: float = 30.0
    backstop: float = 300.0
    heartbeat: int = 15

    def __post_init__(self) -> None:
        _one_of("queue_type", self.queue_type, ("quorum", "classic"))
        _one_of("topology", self.topology, ("declare", "passive"))
        if self.prefetch < 1 or self.threads < 1:
            raise UsageError("prefetch and threads must be at least 1")


def read(arguments: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from arguments (None means: not given), then the environment, then the defaults.

    Raises UsageError for an unknown name, a value of the wrong type, or a url that names a
    variable or file which does not exist.
    """
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    unknown = sorted(set(arguments) - set(fields))
    if unknown:
        raise UsageError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        given = arguments.get(name)
        if given is None and PREFIX + name.upper() in environ:
            given = _parse(name, environ[PREFIX + name.upper()], type(field.default))
        if given is not None:
            values[name] = given
    for name in ("url", "ledger"):
        if name in values:
            values[name] = resolve(values[name], environ)
    return Settings(**values)


def resolve(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """The url itself, or what `env:NAME` or `file:PATH` stands for."""
    if url.startswith("env:"):
        try:
            return environ[url.removeprefix("env:")]
        except KeyError:
            raise UsageError(f"{url}: the environment variable is not set") from None
    if url.startswith("file:"):
        try:
            return Path(url.removeprefix("file:")).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"{url}: the file cannot be read ({error.strerror})") from error
    return url


def _parse(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        variable = PREFIX + name.upper()
        raise UsageError(f"{variable}={text!r} is not a {kind.__name__}") from None


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name}={value!r} is not one of {', '.join(choices)}")
