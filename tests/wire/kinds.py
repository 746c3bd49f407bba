"""Types for the tests of typed values: one of each kind that users annotate with."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Level(enum.StrEnum):
    LOW = "low"


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal
    tags: frozenset[str] = frozenset()


@dataclasses.dataclass
class Order:
    id: UUID
    lines: list[Line]
    at: datetime
    note: str | None = None


@dataclasses.dataclass(eq=False)
class Opaque:
    at: date


@dataclasses.dataclass
class Loose:
    anything: Any


@dataclasses.dataclass
class Priority(Line):
    level: int = 1


class Point(NamedTuple):
    x: int
    on: date


class Options(TypedDict, total=False):
    until: date
    mode: Literal["fast", "slow"]


class Card(msgspec.Struct, tag=True):
    number: str
    expires: date


class Transfer(msgspec.Struct, tag=True):
    iban: str
    keys: bytes


class Person(pydantic.BaseModel):
    name: str
    born: date
    tags: set[str] = set()


class Firm(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    title: str
    founded: datetime


class Text(str):
    __slots__ = ()


class Later(datetime):
    """As pendulum's and pandas' instants are."""


@dataclasses.dataclass
class Ballot:
    votes: Counter[str]
    order: OrderedDict[str, date]


class Tally(pydantic.BaseModel):
    votes: Counter[str]
    order: OrderedDict[str, int]


class Held(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    anything: Any


class Guest(Person):
    seat: int = 1


class Party(pydantic.BaseModel):
    host: Person


class Unknown:
    """A class that nobody can make from JSON."""
