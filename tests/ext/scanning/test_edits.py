"""Lines that are added to files: where they stand, and that the diff applies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from resonate_amqp.ext.scanning.edits import Edits
from resonate_amqp.ext.scanning.sources import Project

TASK = "\n\n@app.task(\n    bind=True,\n)\ndef task(self):\n    return 1"


def edited(folder: Path, text: str, apply: list[str]) -> str:
    """The text of a file with a decorator and an import more, by way of the diff."""
    path = folder / "shop.py"
    path.write_bytes(text.encode())
    project = Project(folder)
    place = project.function("shop.task")
    assert place is not None
    edits = Edits(project)
    edits.imported(place.source, "resonate_amqp.ext.celery", "durable", "from_celery")
    edits.decorate(place, place.node.decorator_list[0].end_lineno or 0, "@durable(resonate)")
    subprocess.run(apply, cwd=folder, input=edits.diff().encode(), check=True)
    return path.read_bytes().decode()


@pytest.mark.parametrize("apply", [["patch", "-p1", "-s"], ["git", "apply"]], ids=["patch", "git"])
@pytest.mark.parametrize(
    "text",
    [
        f"from celery import Celery{TASK}\n",
        f"from celery import Celery{TASK}",
        f"from celery import Celery{TASK}\n".replace("\n", "\r\n"),
        f'"""Größe: \x0c \u2028."""\n\nfrom celery import Celery{TASK}\n',
    ],
    ids=["plain", "no newline at its end", "CRLF", "odd characters"],
)
def test_a_diff_adds_its_lines_and_leaves_the_rest(
    tmp_path: Path, text: str, apply: list[str]
) -> None:
    end = "\r\n" if "\r\n" in text else "\n"
    added = f"from resonate_amqp.ext.celery import durable, from_celery{end}"
    expected = text.replace(f"def task(self):{end}", f"@durable(resonate){end}def task(self):{end}")
    expected = expected.replace(f"Celery{end}", f"Celery{end}{added}", 1)
    assert edited(tmp_path, text, apply) == expected


@pytest.mark.parametrize(
    ("head", "above"),
    [
        ("import os\n\nfrom celery import Celery\nfrom kombu import Queue\n", "from kombu"),
        ("from celery import Celery\nfrom django.db import x\nfrom shop import y\n", "from django"),
        ("from celery import Celery\nfrom sqlalchemy import x\n", "from celery"),
        ("import celery\n\nfrom shop import y\n", "import celery"),
        ("from shop import app\nimport os\n", "import os"),
        ("from resonate_amqp.ext.celery import install\nimport os\n", "from resonate_amqp"),
        ('"""A shop."""\n', '"""A shop.'),
    ],
)
def test_an_import_stands_among_its_neighbours(tmp_path: Path, head: str, above: str) -> None:
    lines = edited(tmp_path, f"{head}{TASK}\n", ["patch", "-p1", "-s"]).splitlines()
    at = next(
        number for number, line in enumerate(lines) if line.endswith("import durable, from_celery")
    )
    assert lines[at - 1].startswith(above)


def test_a_file_of_another_folder_or_package_is_not_the_project_s(tmp_path: Path) -> None:
    inside = tmp_path / "project"
    inside.mkdir()
    project = Project(inside)
    assert project.holds(inside / "shop.py")
    assert not project.holds(tmp_path / "shop.py")
    assert project.owns(tmp_path / "shop.py")
    assert not project.holds(inside / "venv" / "site-packages" / "shop.py")
    assert not project.owns(Path(subprocess.__file__))
