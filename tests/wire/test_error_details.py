"""Errors: what Python prints of an exception where it is raised, its caller finds too."""

from __future__ import annotations

import os
import pickle
import traceback
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn

import pytest

from resonate_amqp.errors import RemoteError
from resonate_amqp.wire.codec import MAX_VALUE_BYTES, encode, encode_error, error_of
from resonate_amqp.wire.failures import MOST_PARTS
from tests.wire.raising import (
    Declined,
    Mute,
    Picky,
    Refused,
    Several,
    Unprintable,
    printed,
    raised,
    rejected,
)


def opened(path: str | bytes | Path) -> OSError:
    with pytest.raises(OSError, match="nowhere") as caught:
        os.stat(path)
    return caught.value


@pytest.mark.parametrize("path", ["nowhere.txt", b"nowhere.txt", Path("nowhere.txt")])
def test_an_os_error_keeps_its_number_and_its_file(path: str | bytes | Path) -> None:
    error = opened(path)
    back = raised(error)
    assert isinstance(back, FileNotFoundError)
    assert (back.errno, back.strerror, back.filename) == (2, error.strerror, "nowhere.txt")
    assert "'nowhere.txt'" in str(back)


def test_an_os_error_of_two_files_keeps_both() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        os.rename("nowhere", "elsewhere")
    back = raised(caught.value)
    assert str(back) == str(caught.value)
    assert isinstance(back, FileNotFoundError)
    assert back.filename2 == "elsewhere"


@pytest.mark.parametrize(
    ("code", "attributes"),
    [
        ("import nowhere.at_all", {"name": "nowhere"}),
        ("from os import nothing", {"name": "os", "path": os.__file__}),
        ("nothing", {"name": "nothing"}),
        ("(3).nothing", {"name": "nothing"}),
        ("raise UnboundLocalError('x')", {"args": ("x",)}),
        ("compile('a b', 'shop.py', 'exec')", {"filename": "shop.py", "lineno": 1, "offset": 3}),
    ],
)
def test_errors_of_python_keep_what_they_know(code: str, attributes: dict[str, Any]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of several types
        exec(code, {})
    back = raised(caught.value)
    assert type(back) is type(caught.value)
    assert str(back) == str(caught.value)
    assert {name: getattr(back, name) for name in attributes} == attributes


def test_an_exception_group_comes_back_with_its_parts() -> None:
    inner = ExceptionGroup("inner", [opened("nowhere.txt"), Declined("4711", limit=5)])
    inner.exceptions[0].add_note("while reading")
    back = raised(ExceptionGroup("several", [ValueError("one", 2), inner]))
    assert isinstance(back, ExceptionGroup)
    assert back.message == "several"
    one, nested = back.exceptions
    assert (type(one), one.args) == (ValueError, ("one", 2))
    assert isinstance(nested, ExceptionGroup)
    missing, declined = nested.exceptions
    assert isinstance(missing, FileNotFoundError)
    assert (missing.filename, missing.__notes__) == ("nowhere.txt", ["while reading"])
    assert isinstance(declined, RemoteError)
    assert declined.type_name.endswith("Declined")
    matched, rest = back.split(ValueError)
    assert matched is not None
    assert rest is not None


def test_a_group_of_an_application_comes_back_as_it_is_registered() -> None:
    recorded = encode_error(Several("all", [ValueError("one")]))
    registered = {f"{Several.__module__}.Several": Several}
    back = error_of(rejected(recorded), registered)
    assert type(back) is Several
    assert repr(back.exceptions) == "(ValueError('one'),)"
    assert type(error_of(rejected(recorded))) is RemoteError
    assert "ValueError: one" in printed(error_of(rejected(recorded)))


def test_a_group_too_large_for_its_record_says_how_many_parts_are_left_out() -> None:
    deep: Exception = ValueError("deepest")
    for _ in range(50):
        deep = ExceptionGroup("deep", [deep])
    back = raised(ExceptionGroup("wide", [deep, *[ValueError("x" * 9_000) for _ in range(5_000)]]))
    assert isinstance(back, ExceptionGroup)
    assert 5 < len(back.exceptions) <= MOST_PARTS
    left_out = 5_001 - len(back.exceptions)
    assert f"{left_out} more exceptions of this group are left out" in printed(back)


def test_notes_come_back_and_are_printed() -> None:
    error = Declined("4711", limit=5)
    error.add_note("order 17")
    error.add_note("shop \ud800")
    back = raised(error)
    assert back.__notes__[-2:] == ["order 17", r"shop \ud800"]
    own = ValueError("x")
    own.add_note("order 17")
    assert raised(raised(own)).__notes__ == ["order 17"]


def test_endless_notes_are_cut() -> None:
    error = ValueError("x")
    for _ in range(1_000):
        error.add_note("y" * 1_000)
    assert raised(error).__notes__[-1] == "… further notes are left out"


def test_what_python_prints_of_an_error_its_caller_finds_in_what_is_printed_there() -> None:
    def reads() -> NoReturn:
        try:
            try:
                raise KeyError("setting")
            except KeyError:
                raise opened("nowhere.txt")  # noqa: B904  # a context, and no cause
        except FileNotFoundError as missing:
            missing.add_note("configuration of shop 7")
            raise ExceptionGroup("start", [Declined("4711", limit=5)]) from missing

    with pytest.raises(ExceptionGroup) as caught:
        reads()
    there = printed(error_of(rejected(encode_error(caught.value))))
    for line in traceback.format_exception(caught.value):
        assert line.strip("\n") in there
    assert "KeyError: 'setting'" in there
    assert "configuration of shop 7" in there
    assert "in reads" in there


def test_a_remote_error_is_printed_with_its_remote_lines_and_told_without() -> None:
    back = raised(Declined("4711", limit=5))
    assert "in raised" in printed(back)
    assert "Traceback" not in str(back)
    assert "in raised" in printed(pickle.loads(pickle.dumps(back)))


def test_an_error_that_travels_far_keeps_its_beginning_and_does_not_grow() -> None:
    """Each process between raises it from another error of its own."""

    def passes(error: Exception) -> NoReturn:
        try:
            raise error
        except Exception as caught:
            raise RuntimeError("further") from caught

    back, sizes = raised(KeyError("the beginning")), []
    for _ in range(200):
        with pytest.raises(RuntimeError) as passed:
            passes(back)
        recorded = encode_error(passed.value)
        sizes.append(len(recorded.data))
        back = error_of(rejected(recorded))
    assert max(sizes) < 64 * 1024
    text = printed(back)
    assert text.count("KeyError: 'the beginning'") in (2, 3)
    assert "in passes" in text
    assert "characters are left out" in text
    few = printed(error_of(rejected(encode_error(raised(raised(raised(KeyError("first"))))))))
    assert few.count("in raised") == 3


def test_two_errors_of_two_steps_keep_the_lines_of_both() -> None:
    first, second = raised(Declined("4711", limit=5)), raised(Picky())
    second.__context__ = first
    trace = printed(error_of(rejected(encode_error(second))))
    assert "Declined: card 4711" in trace
    assert "Picky: ('one', 'two')" in trace


def test_chains_without_an_end_are_cut() -> None:
    loop = ValueError("loop")
    loop.__cause__ = KeyError("other")
    loop.__cause__.__context__ = loop
    assert "KeyError: 'other'" in printed(raised(loop))
    chain: Exception = KeyError("the beginning")
    for number in range(5_000):
        outer = ValueError(number)
        outer.__cause__ = chain
        chain = outer
    recorded = encode_error(chain)
    assert len(recorded.data) < 64 * 1024
    assert "KeyError: 'the beginning'" in printed(error_of(rejected(recorded)))


def test_a_stack_without_an_end_leaves_room_for_its_cause() -> None:
    def falls(depth: int) -> None:
        try:
            if depth:
                falls(depth - 1)
            else:
                raise KeyError("bottom")
        except KeyError as error:
            if depth:
                raise
            raise ValueError("at the bottom") from error

    with pytest.raises(ValueError, match="bottom") as caught:
        falls(300)
    back = error_of(rejected(encode_error(caught.value)))
    assert "KeyError: 'bottom'" in printed(back)
    assert "frames are left out" in printed(back)


def test_an_error_of_control_characters_is_recorded_in_short() -> None:
    parts = [ValueError("\x01" * 60_000) for _ in range(40)]
    error = ExceptionGroup("\x01" * 300_000, parts)
    for _ in range(20):
        error.add_note("\x01" * 1_000)
    recorded = encode_error(error)
    assert len(recorded.data) < MAX_VALUE_BYTES
    assert isinstance(error_of(rejected(recorded)), Exception)


def test_an_error_that_cannot_be_printed_at_all_is_recorded() -> None:
    error = Mute()
    vars(error)["__notes__"] = [Unprintable()]
    error.__cause__ = ExceptionGroup("g", [Mute()])
    assert isinstance(raised(error), RemoteError)


def test_arguments_of_derived_classes_build_a_registered_error_again() -> None:
    recorded = encode_error(Refused("no", HTTPStatus.PAYMENT_REQUIRED))
    back = error_of(rejected(recorded), {f"{Several.__module__}.Refused": Refused})
    assert type(back) is Refused
    assert back.args == ("no", 402)


def test_a_record_of_an_earlier_release_is_still_read() -> None:
    record = {
        "__type": "error",
        "type": "ValueError",
        "message": "m",
        "traceback": "T",
        "args": [1],
    }
    back = error_of(rejected(encode(record)))
    assert (type(back), back.args) == (ValueError, (1,))
    assert "Where it was raised:\nT" in printed(back)


@pytest.mark.parametrize(
    "forged",
    [
        {"parts": 3, "group": "g"},
        {"parts": [3], "group": "g"},
        {"parts": [], "group": "g"},
        {"parts": [{"parts": [{"type": "print"}]}], "group": 4, "left_out": "many"},
        {"notes": 3, "attributes": [1]},
        {"notes": [3], "attributes": {"filename": 3, "__class__": "x", "args": 5}},
    ],
)
@pytest.mark.parametrize("name", ["ExceptionGroup", "OSError"])
def test_forged_parts_notes_and_attributes_do_not_escape(forged: Any, name: str) -> None:
    record = {"__type": "error", "type": name, "message": "m"} | forged
    assert isinstance(error_of(rejected(encode(record))), RemoteError | OSError | ExceptionGroup)
