"""`scan`: what durable would make of a Celery app's tasks, or of a module's Kombu callbacks."""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resonate_amqp.cli.options import as_json
from resonate_amqp.cli.output import show_json
from resonate_amqp.errors import UsageError

if TYPE_CHECKING:
    from resonate_amqp.ext.scanning.findings import Graded, Remark, Report
    from resonate_amqp.ext.scanning.sources import Project, Source

WIDTH = 80
HINTS = {
    "name the steps": "Decorate each too, give it ctx as its first parameter (after self), and "
    "write for each line what stands below it. A function given to ctx.lfc takes ctx first; its "
    "arguments and its result are recorded as JSON.",
    "decorate as it is": "The diff below does it.",
    "leave it": "",
}


@click.command()
@click.argument("where", metavar="MODULE[:APP]")
@click.option("--diff", "only_diff", is_flag=True, help="Print the diff alone, for patch -p1.")
@as_json
def scan(where: str, only_diff: bool, as_json: bool) -> None:
    """Grade the tasks of the Celery app MODULE:APP, or the Kombu callbacks of MODULE.

    Nothing is run, and no broker is asked. A Celery app's modules are imported.
    """
    reports = reports_of(where)
    if as_json:
        show_json([report.as_data() for report in reports])
    elif only_diff:
        click.echo("".join(report.diff for report in reports), nl=False)
    else:
        for number, report in enumerate(reports):
            if number:
                click.echo()
            _show(report)


def reports_of(where: str) -> list[Report]:
    """What is found of MODULE:APP, or in MODULE; raises NothingToScan when there is nothing."""
    from resonate_amqp.ext.scanning.sources import Project

    module, colon, attribute = where.partition(":")
    if not module or (colon and not attribute):
        raise UsageError(f"{where!r} is not MODULE:APP; write myshop.celery:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    project = Project(Path.cwd())
    source = None if attribute else project.module(module)
    found = [] if source is None else _of_kombu(source, project)
    if not found or (source is not None and "celery" in _imported_by(source)):
        found.append(_of_celery(where, project))
    return found


def _of_kombu(source: Source, project: Project) -> list[Report]:
    from resonate_amqp.ext.kombu import scanning

    report = scanning.scan(source, project)
    return [] if report is None else [report]


def _of_celery(where: str, project: Project) -> Report:
    if importlib.util.find_spec("celery") is None:
        raise UsageError('Celery is not installed here; pip install "resonate-amqp[celery]"')
    from resonate_amqp.ext.celery.scanning import scan
    from resonate_amqp.ext.celery.scanning.apps import load

    app, module, name = load(where)
    return scan(app, module, name, project)


def _imported_by(source: Source) -> set[str]:
    return {name.partition(".")[0] for name in source.imports.values()}


def _show(report: Report) -> None:
    click.secho(report.subject, bold=True)
    for name, text in report.facts.items():
        if text:
            _wrapped(text, f"  {name:<12}")
    by_grade: dict[str, list[Graded]] = {grade: [] for grade in HINTS}
    for one in report.graded:
        by_grade[one.grade.value].append(one)
    counted = ", ".join(f"{grade}: {len(found)}" for grade, found in by_grade.items())
    _wrapped(counted, f"  {'grades':<12}")
    if report.warnings:
        click.secho("\nBefore anything runs", bold=True)
        _warn(report.warnings)
    for grade, found in by_grade.items():
        if found:
            click.secho(f"\n{grade.capitalize()} ({len(found)})", bold=True)
            if HINTS[grade]:
                _wrapped(HINTS[grade], "")
            for one in found:
                _show_graded(one)
    if report.diff:
        click.secho("\nThe diff", bold=True)
        click.echo(report.diff, nl=False)


def _show_graded(one: Graded) -> None:
    at = f"{one.path}:{one.line}" if one.path and one.line else ""
    between = "  " if len(one.name) + len(at) + 4 <= WIDTH else "\n  "
    click.echo(f"\n  {click.style(one.name, bold=True)}{between if at else ''}{at}")
    if one.options:
        said = (
            name if value == "True" else f"{name}={value}" for name, value in one.options.items()
        )
        _wrapped("; ".join(said), "    with ")
    for why in one.reasons:
        _wrapped(why, "    ")
    for step in one.steps:
        _wrapped(step.does, f"    {step.line:>4}  ")
        # What is to be written is not to be broken into lines, so that it can be copied.
        click.echo(f"          {click.style(step.write, fg='green')}")
    _warn(one.warnings)


def _warn(remarks: list[Remark]) -> None:
    for one in remarks:
        _wrapped(one.text, f"    ! {one.line}: " if one.line else "    ! ")


def _wrapped(text: str, before: str) -> None:
    indent = " " * len(before)
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=before,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    click.echo("\n".join(lines))
