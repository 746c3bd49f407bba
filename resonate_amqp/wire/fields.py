"""Reading decoded JSON strictly: each reader names the field it refuses."""

from __future__ import annotations

from typing import Any

from resonate_amqp.core.model import EMPTY, Value
from resonate_amqp.errors import Malformed

INT64 = 2**63
MAX_TEXT = 2048
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
        if len(found) > longest:
            raise self._refused(name, f"{len(found)} characters are too many; {longest} at most")
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

    def positive(self, name: str) -> int:
        found = self.integer(name)
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
            if type(text) is not str or len(text) > MAX_TEXT or "\0" in text:
                found.text(key)
            if len(key) > MAX_TEXT or "\0" in key:
                raise self._refused(name, "a name holds a NUL character or is too long")
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


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
