"""What a shop's own decorators do to a function that is to be durable."""

from __future__ import annotations

import pytest

from resonate_amqp.ext.scanning.decorators import judged
from tests.ext.scanning.texts import Texts

WRAPS = """
import functools

def decorator(func):
    @functools.wraps(func)
    def wrapper(*args):
        {body}
    return wrapper
"""
HIDES = """
def decorator(func):
    def wrapper(*args):
        return func(*args)
    return wrapper
"""
UPDATES = """
from functools import update_wrapper

def decorator(func):
    def wrapper(*args):
        return func(*args)
    return update_wrapper(wrapper, func)
"""
WITH_ARGUMENTS = """
def decorator(again):
    def decorate(func):
        def wrapper(*args):
            return func(*args)
        return wrapper
    return decorate
"""
MARKS = """
def decorator(func):
    func.marked = True
    return func
"""
CATCHES = "try:\n            return func(*args)\n        except {what}:\n            {then}"


def said(texts: Texts, decorator: str, *, above: bool = False) -> list[str]:
    texts.write("decorators", decorator)
    place = texts.function(
        """
        from decorators import decorator

        @decorator
        def task(x): ...
        """
    )
    (node,) = place.node.decorator_list
    return [remark.text for remark in judged(texts.project, place, node, above=above)]


@pytest.mark.parametrize("decorator", [HIDES, WITH_ARGUMENTS], ids=["plain", "with arguments"])
def test_one_without_wraps_is_named_with_the_remedy(texts: Texts, decorator: str) -> None:
    (below,) = said(texts, decorator)
    (above,) = said(texts, decorator, above=True)
    assert "@decorator hides the function's name" in below
    assert "@decorator hides that the function below it is durable" in above
    assert "functools.wraps" in below
    assert "functools.wraps" in above


@pytest.mark.parametrize(
    "decorator",
    [
        WRAPS.format(body="return func(*args)"),
        UPDATES,
        MARKS,
        WRAPS.format(body=CATCHES.format(what="OSError", then="return None")),
        WRAPS.format(body=CATCHES.format(what="Exception", then="raise")),
    ],
    ids=["wraps", "update_wrapper", "no wrapper", "one type", "raises again"],
)
def test_one_that_changes_nothing_is_not_named(texts: Texts, decorator: str) -> None:
    assert said(texts, decorator) == []


@pytest.mark.parametrize("what", ["Exception", "BaseException", "Exception as error"])
def test_one_that_catches_everything_is_named_with_its_line(texts: Texts, what: str) -> None:
    caught = CATCHES.format(what=what, then="return None")
    (text,) = said(texts, WRAPS.format(body=caught))
    assert text.startswith("@decorator catches every Exception (line 9 of decorators.py)")


def test_one_of_an_installed_package_is_not_read(texts: Texts) -> None:
    place = texts.function("import click\n\n@click.command()\ndef task(x): ...\n")
    (node,) = place.node.decorator_list
    assert judged(texts.project, place, node, above=False) == []
