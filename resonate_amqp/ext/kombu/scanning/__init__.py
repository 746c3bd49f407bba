"""Scanning a module with Kombu consumers: its callbacks graded, and the diff of the first kind.

The module is read and not imported, since one that consumes may begin to as it is imported.
"""

from __future__ import annotations

from resonate_amqp.ext.kombu.scanning.consumers import callbacks_of, consumers_of
from resonate_amqp.ext.kombu.scanning.grading import Grading
from resonate_amqp.ext.kombu.scanning.patch import connection_of, patched
from resonate_amqp.ext.kombu.scanning.queues import warnings
from resonate_amqp.ext.scanning.findings import Report
from resonate_amqp.ext.scanning.sources import Project, Source

__all__ = ["consumers_of", "scan"]


def scan(source: Source, project: Project) -> Report | None:
    """What can be seen of a module's consumers; None when it has none."""
    consumers = list(consumers_of(source))
    if not consumers:
        return None
    report = Report(source.name, warnings=warnings(source, consumers))
    grading = Grading(project)
    callbacks = callbacks_of(source, consumers, project)
    report.graded = [grading.of(one) for one in callbacks]
    for graded in report.graded:
        graded.path = graded.path or project.shown(source.path)
    connection = connection_of(source)
    report.facts = {
        "connection": f"{connection}, at the top of the module"
        if connection
        else "made where it cannot be seen",
        "queues": ", ".join(sorted({name for one in consumers for name in one.queues})),
    }
    report.diff = patched(project, source, callbacks, report.graded)
    report.gather()
    return report
