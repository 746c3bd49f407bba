"""The rules of the house: sizes, docstrings, leftovers, names, and who may import whom."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "resonate_amqp"
FILE_LINES = 400
FUNCTION_LINES = 70
LINE_LENGTH = 100
NAMELESS = {"base", "common", "helpers", "manager", "misc", "utils"}
LEFTOVER = re.compile(r"\b(TODO|FIXME)\b")
BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[[a-z-]+(, ?[a-z-]+)*\]\s+#\s*\S)")
PATCH = re.compile(r"\bmock\.patch\b|\bmock import\b.*\bpatch\b")
# In pieces, so that this file does not find itself.
ELSEWHERE = re.compile("|".join(f"/{place}/" for place in ("work", "farm")))
BINARY = {".gz", ".ico", ".jpg", ".png", ".svg", ".whl"}


def test_files_are_short() -> None:
    long = [
        f"{_at(path, lines)}: {lines} lines, at most {FILE_LINES}"
        for path in _sources("resonate_amqp", "tests", "examples")
        if (lines := len(_lines(path))) > FILE_LINES
    ]
    assert not long, _report(long)


def test_functions_are_short() -> None:
    long = [
        f"{_at(path, node.lineno)}: {node.name} has {length} lines, at most {FUNCTION_LINES}"
        for path in _sources("resonate_amqp", "tests", "examples")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert not long, _report(long)


def test_lines_are_short() -> None:
    long = [
        f"{_at(path, number)}: {len(line)} characters, at most {LINE_LENGTH}"
        for path in _sources("resonate_amqp", "tests", "examples")
        for number, line in enumerate(_lines(path), 1)
        if len(line) > LINE_LENGTH
    ]
    assert not long, _report(long)


def test_modules_say_what_they_are() -> None:
    silent = [
        f"{_at(path, 1)}: the module has no docstring"
        for path in _sources("resonate_amqp", "tests", "examples")
        if not ast.get_docstring(_tree(path))
    ]
    assert not silent, _report(silent)


def test_public_names_have_docstrings() -> None:
    silent = [
        f"{_at(path, node.lineno)}: {node.name} has no docstring"
        for path in _sources("resonate_amqp")
        for node in _tree(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent, _report(silent)


def test_nothing_is_left_over() -> None:
    found = _matches(LEFTOVER, "resonate_amqp")
    assert not found, _report(found)


def test_the_package_does_not_print() -> None:
    printing = [
        f"{_at(path, node.lineno)}: print; use a logger, or click.echo in cli and dev"
        for path in _sources("resonate_amqp")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not printing, _report(printing)


def test_names_say_what_is_inside() -> None:
    nameless = [
        f"{_at(path, 1)}: {part!r} says nothing about what is inside"
        for path in _sources("resonate_amqp", "tests", "examples")
        for part in path.relative_to(ROOT).with_suffix("").parts
        if part.removeprefix("test_") in NAMELESS
    ]
    assert not nameless, _report(nameless)


def test_an_ignored_type_error_gives_its_code_and_a_reason() -> None:
    bare = _matches(BARE_IGNORE, "resonate_amqp", "tests", "examples")
    assert not bare, _report(bare)


def test_nothing_of_ours_is_patched() -> None:
    patched = [
        line for line in _matches(PATCH, "tests") if not line.startswith("tests/test_house.py:")
    ]
    assert not patched, _report(patched)


def test_no_file_names_a_place_outside_the_repository() -> None:
    found = [
        f"{_at(path, number)}: {line.strip()}"
        for path in _kept()
        if path.suffix not in BINARY
        for number, line in enumerate(_lines(path), 1)
        if ELSEWHERE.search(line)
    ]
    assert not found, _report(found)


def test_a_module_imports_only_from_floors_below() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _kept() -> list[Path]:
    """What is in the repository or would be added to it."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _matches(pattern: re.Pattern[str], *folders: str) -> list[str]:
    return [
        f"{_at(path, number)}: {line.strip()}"
        for path in _sources(*folders)
        for number, line in enumerate(_lines(path), 1)
        if pattern.search(line)
    ]


def _at(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def _report(faults: list[str]) -> str:
    return "\n" + "\n".join(faults)
