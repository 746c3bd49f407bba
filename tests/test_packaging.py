"""What is installed: one version, every library that is imported, and no other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path

import pytest

import resonate_amqp

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
THROUGH = {
    "amqp": "kombu",
    "billiard": "celery",
    "docker": "testcontainers",
    "pydantic": "sqlmodel",
    "sqlalchemy": "sqlmodel",
}
"""What comes with something else that is declared."""
BY_EXTRA = {
    "celery": "celery",
    "dev": "testcontainers",
    "examples": "flask",
    "postgres": "psycopg",
}
DJANGO = ROOT / "examples" / "django_shop" / "before"
"""A project whose packages are imported as they are where it is at home."""
UNNEEDED = {
    "resonate_amqp": ("celery", "kombu", "sqlmodel"),
    "resonate_amqp.cli": ("celery", "kombu", "sqlmodel"),
    "resonate_amqp.ext.kombu": ("celery",),
}
"""By module, what is not to be loaded until it is used, or not even installed."""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower() for one in requirements}


def imported(folder: Path) -> set[str]:
    """The distributions that the modules of a folder import, wherever they do."""
    modules: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    own = {"resonate_amqp", "tests", "examples"}
    own |= {path.parent.name for path in DJANGO.glob("*/__init__.py")}
    others = modules - own - set(sys.stdlib_module_names)
    by_module = packages_distributions()
    return {name.lower() for module in others for name in by_module.get(module, [module])}


def test_the_package_says_the_version_it_is_installed_as() -> None:
    assert resonate_amqp.__version__ == PROJECT["version"] == version("resonate-amqp")


def test_whatever_the_package_imports_is_declared() -> None:
    optional = {name for extra in EXTRAS.values() for name in names(extra)}
    found = {THROUGH.get(name, name) for name in imported(ROOT / "resonate_amqp")}
    assert found <= names(PROJECT["dependencies"]) | optional


def test_what_the_tests_import_comes_with_the_extras_that_make_installs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [extras] = re.findall(r"--editable '\.\[([a-z,]+)\]'", makefile)
    installed = {name for extra in extras.split(",") for name in names(EXTRAS[extra])}
    wanted = imported(ROOT / "tests") | imported(ROOT / "examples")
    found = {THROUGH.get(name, name) for name in wanted}
    assert found <= installed | names(PROJECT["dependencies"])


@pytest.mark.parametrize(("extra", "library"), sorted(BY_EXTRA.items()))
def test_an_extra_brings_what_it_is_for(extra: str, library: str) -> None:
    assert library in names(EXTRAS[extra])


@pytest.mark.parametrize("group", ["console_scripts", "pytest11"])
def test_what_others_load_by_name_is_there(group: str) -> None:
    [found] = [
        one for one in entry_points(group=group) if one.dist and one.dist.name == "resonate-amqp"
    ]
    assert found.load() is not None


@pytest.mark.parametrize("module", UNNEEDED)
def test_a_module_is_imported_without_what_it_does_not_need(module: str) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({UNNEEDED[module]!r}))"
    command = [sys.executable, "-c", f"{blocked}; import {module}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
