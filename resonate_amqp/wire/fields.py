"""Reading decoded JSON strictly: each reader names the field it refuses."""

from __future__ import annotations

from typing import Any

from resonate_amqp.core.model import EMPTY, Value
from resonate_amqp.errors import Malformed

INT64 = 2**63
MAX_TEXT = 2048
"""Bytes, in UTF-8, of a text; a database's index holds no more of several such columns."""

MAX_KEY = 255
"""Bytes, in UTF-8, of the name of a header or tag."""

LONGEST_MS = 10**13
"""Three centuries: what begins now and lasts so long still ends within 64 bits."""

MAX_DATA = 1_500_000
MAX_NAMES = 64


class Fields:
    """An object of a message, with its path for error texts; every reader raises Malformed."""

    __slots__ = ("_object", "_path")

    def __init__(self, decoded: Any, path: str) -> None:
        if not isinstance(decoded, dict):
            raise Malformed(path, f"an object is expected, not {_kind(decoded)}")
        self._object = decoded
        self._path = path

    def text(self, name: str, default: str | None = None, *, longest: int = MAX_TEXT) -> str:
        found = self._object.get(name, default)
        if not isinstance(found, str):
            raise self._refused(name, f"a string is expected, not {_kind(found)}")
        if exceeds(found, longest):
            raise self._refused(name, f"more than {longest} bytes are too many")
        if "\0" in found:
            raise self._refused(name, "it holds a NUL character")
        return found

    def integer(self, name: str, default: int | None = None) -> int:
        found = self._object.get(name, default)
        if not isinstance(found, int) or isinstance(found, bool):
            raise self._refused(name, f"an integer is expected, not {_kind(found)}")
        if not -INT64 <= found < INT64:
            raise self._refused(name, f"{found} is beyond 64 bits")
        return found

    def duration(self, name: str, default: int | None = None) -> int:
        """Milliseconds; fewer than none where the reader takes that for none."""
        found = self.integer(name, default)
        if found > LONGEST_MS:
            raise self._refused(name, f"{found} ms is longer than {LONGEST_MS} ms")
        return found

    def positive(self, name: str) -> int:
        """A duration of a millisecond or more."""
        found = self.duration(name)
        if found < 1:
            raise self._refused(name, f"{found} is not positive")
        return found

    def boolean(self, name: str, default: bool = False) -> bool:
        found = self._object.get(name, default)
        if not isinstance(found, bool):
            raise self._refused(name, f"true or false is expected, not {_kind(found)}")
        return found

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings."""
        found = Fields(self._object.get(name) or {}, f"{self._path}.{name}")
        if len(found._object) > MAX_NAMES:
            raise self._refused(
                name, f"{len(found._object)} names are too many; {MAX_NAMES} at most"
            )
        for key, text in found._object.items():
            if type(text) is not str or exceeds(text, MAX_TEXT) or "\0" in text:
                found.text(key)
            if exceeds(key, MAX_KEY) or "\0" in key:
                raise self._refused(
                    name, f"a name holds a NUL character or exceeds {MAX_KEY} bytes"
                )
        return found._object

    def value(self, name: str) -> Value:
        found = self._object.get(name)
        if not found:
            return EMPTY
        fields = Fields(found, f"{self._path}.{name}")
        return Value(fields.texts("headers"), fields.text("data", "", longest=MAX_DATA))

    def list(self, name: str) -> list[Any]:
        found = self._object.get(name, [])
        if not isinstance(found, list):
            raise self._refused(name, f"a list is expected, not {_kind(found)}")
        return found

    def object(self, name: str) -> Fields:
        return Fields(self._object.get(name), f"{self._path}.{name}")

    def raw(self, name: str) -> Any:
        return self._object.get(name)

    def path(self, name: str) -> str:
        return f"{self._path}.{name}"

    def _refused(self, name: str, problem: str) -> Malformed:
        return Malformed(f"{self._path}.{name}", problem)


def write_value(value: Value) -> dict[str, Any]:
    """A value's JSON object; empty for an empty value."""
    if not value.data and not value.headers:
        return {}
    return {"headers": dict(value.headers), "data": value.data}


def read_value(value: dict[str, Any]) -> Value:
    """The value a ledger's record holds."""
    return Value(value.get("headers", {}), value.get("data", "")) if value else EMPTY


def exceeds(text: str, most: int) -> bool:
    """Whether a text takes more than so many bytes in UTF-8."""
    return 4 * len(text) > most and len(text.encode(errors="surrogatepass")) > most


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
