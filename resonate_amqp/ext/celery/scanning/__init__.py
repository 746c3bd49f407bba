"""Scanning a Celery app: its tasks graded, what to know before, and the diff of the first kind."""

from __future__ import annotations

from celery import Celery

from resonate_amqp.ext.celery.made import OWN
from resonate_amqp.ext.celery.scanning import configuration, senders
from resonate_amqp.ext.celery.scanning.functions import Registered, of_app
from resonate_amqp.ext.celery.scanning.grading import Grading
from resonate_amqp.ext.celery.scanning.patch import patched
from resonate_amqp.ext.scanning.findings import Report
from resonate_amqp.ext.scanning.sources import Project

__all__ = ["Registered", "scan"]


def scan(app: Celery, module: str, name: str, project: Project) -> Report:
    """What can be told of an app and its tasks; nothing of it is run, and no broker is asked.

    `module` is where the app was looked for, and `name` what it is called there.
    """
    registered = [one for one in of_app(app, project) if not one.task.name.startswith(OWN)]
    report = Report(f"{module}:{name}", configuration.facts(app))
    report.warnings = [*configuration.warnings(app), *senders.warnings(project, registered)]
    grading = Grading(app, project, registered, configuration.pool_of(app))
    report.graded = [grading.of(one) for one in registered]
    report.diff = patched(project, module, app, registered, report.graded)
    report.gather()
    return report
