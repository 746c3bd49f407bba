"""Configured: the settings of class Resonate, read when it is made or once they are needed.

An integration makes an instance in a module that is imported before its framework is configured.
So it names a source, which is asked at the first use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from resonate_amqp import settings as settings_of
from resonate_amqp.errors import UsageError
from resonate_amqp.settings import Settings
from resonate_amqp.wire.address import check_name


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from that no argument names.

    `settings` answers some of them. `url` answers the broker, asked if neither they nor the
    environment name one; empty means embedded. It raises UsageError when there is no broker.
    """

    settings: Callable[[], Mapping[str, Any]]
    url: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Found:
    """What was read; `refusal` is why there is no broker, for those who need one."""

    settings: Settings
    refusal: UsageError | None = None


def chosen_url(url: str | None, ledger: str | None, has_system: bool) -> str | None:
    """The broker that code names: empty where it names an embedded system; None for neither.

    What code names counts more than what the environment names. Raises UsageError where the code
    names two systems.
    """
    if has_system and (url or ledger):
        raise UsageError(f"give either {'url' if url else 'ledger'}= or system=, not both")
    if url and ledger:
        raise UsageError(
            "url= names a broker, whose ledger is a service of its own: give ledger= to "
            "`resonate-amqp ledger serve`, or leave url= away to embed the ledger here"
        )
    return "" if has_system or ledger else url


class Reading:
    """Settings that are read once; shared by an instance and its views.

    It has no lock, which a fork could leave held: two threads may read at once, and both get
    what one of them kept. What is refused is read again, because it may be configured by then.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._source: Source | None = None
        self._kept: dict[str, Found] = {}
        # A wrong argument is an error where it is written, whenever the rest is read.
        self.found()

    def put_off(self, source: Source) -> None:
        """Read once more when the settings are needed, from this source as well."""
        self._source = source
        self._kept.clear()

    def found(self) -> Found:
        """The settings; raises UsageError for those that cannot be."""
        kept = self._kept.get("found")
        if kept is not None:
            return kept
        found = self._read()
        return found if found.refusal is not None else self._kept.setdefault("found", found)

    def _read(self) -> Found:
        if self._source is None:
            return Found(_checked(settings_of.read(self._given)))
        given = {name: value for name, value in self._given.items() if value is not None}
        settings = _checked(settings_of.read({**self._source.settings(), **given}))
        if settings.url or "url" in given:
            return Found(settings)
        try:
            return Found(dataclasses.replace(settings, url=self._source.url()))
        except UsageError as refusal:
            return Found(settings, refusal)


class Configured:
    """What class Resonate tells of its settings."""

    _reading: Reading

    @classmethod
    def lazily(cls, source: Source, **given: Any) -> Self:
        """An instance whose settings, as far as they are not given, are read when it needs them.

        Raises UsageError for what is wrong with those that are given.
        """
        make: Callable[..., Self] = cls
        made = make(**given)
        made._reading.put_off(source)
        return made

    @property
    def settings(self) -> Settings:
        """The settings; reading them for the first time raises UsageError if one is wrong."""
        return self._reading.found().settings

    @property
    def embedded(self) -> bool:
        """Whether the settings say that broker and ledger are part of this process."""
        found = self._reading.found()
        return found.refusal is None and not found.settings.url

    def broker_url(self) -> str:
        """The broker that the settings lead to; empty when everything is embedded.

        Raises UsageError when they are taken from something that has no such broker.
        """
        found = self._reading.found()
        if found.refusal is not None:
            raise found.refusal
        return found.settings.url


def _checked(settings: Settings) -> Settings:
    check_name("group", settings.group)
    if settings.pid:
        check_name("pid", settings.pid)
    return settings
