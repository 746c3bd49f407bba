"""Patch: the diff that makes the callbacks durable that are to be decorated as they are."""

from __future__ import annotations

import ast

from resonate_amqp.ext.kombu.scanning.consumers import Callback
from resonate_amqp.ext.scanning.edits import RESONATE, Edits, resonate_in, taken
from resonate_amqp.ext.scanning.findings import Grade, Graded, Remark
from resonate_amqp.ext.scanning.sources import Project, Source

DOOR = "resonate_amqp.ext.kombu"


def patched(
    project: Project, source: Source, callbacks: list[Callback], graded: list[Graded]
) -> str:
    """The unified diff of a module whose callbacks are graded DECORATE; empty without any."""
    edits = Edits(project)
    wanted = []
    for one, finding in zip(callbacks, graded, strict=True):
        if one.place is None or finding.grade is not Grade.DECORATE:
            continue
        if one.place.source is not source or not project.holds(source.path):
            why = "it is defined in another module; scan that one, or decorate it there"
        elif one.place.within is None and one.place.node.col_offset:
            why = "it is defined inside of a function; decorate it there"
        elif name := taken(source, DOOR):
            why = f"its file has a {name} of its own; import ours under another name"
        else:
            wanted.append(one.place)
            continue
        finding.warnings.append(Remark(f"the diff leaves it out: {why}"))
    if not wanted:
        return ""
    found = resonate_in(source)
    if found is None:
        _resonate(edits, source)
    edits.imported(source, DOOR, "durable")
    for place in wanted:
        edits.decorate(place, 0, f"@durable({found or RESONATE})")
    return edits.diff()


def connection_of(source: Source) -> str:
    """The name of a connection that is made at the top of a module; else empty."""
    for name, node in source.top_level.items():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = source.dotted(node.value.func).rpartition(".")[2]
            if made in ("Connection", "BrokerConnection") or name.endswith(("connection", "conn")):
                return name
    return ""


def _resonate(edits: Edits, source: Source) -> None:
    group = source.name.rpartition(".")[2]
    connection = connection_of(source)
    if not connection:
        edits.imported(source, "os")
    edits.imported(source, "resonate_amqp", "Resonate")
    if connection:
        below = source.top_level[connection].end_lineno or 0
        made = f'Resonate.from_kombu({connection}, group="{group}")'
        edits.add(source, below, f"{RESONATE} = {made}")
        return
    below = edits.after_imports(source)
    edits.add(source, below, "")
    made = f'Resonate(os.environ["RESONATE_AMQP_URL"], group="{group}")'
    edits.add(source, below, f"{RESONATE} = {made}")
