"""Texts: programs of these tests as files of a project of their own."""

from __future__ import annotations

import textwrap
from pathlib import Path

from resonate_amqp.ext.scanning.acts import Reader
from resonate_amqp.ext.scanning.findings import Step
from resonate_amqp.ext.scanning.rewrites import Rewriter
from resonate_amqp.ext.scanning.sources import Place, Project

IMPORTS = """
import os, random, smtplib, subprocess, time, urllib.request, uuid
from functools import partial

import requests
from celery import Celery, chain, chord, group, shared_task
from celery.result import AsyncResult
from django.core.mail import send_mail
from django.db import transaction

from models import Book

app = Celery("texts")


@app.task
def add(x, y): ...


@app.task
def tell(x): ...


"""


class Texts:
    """A folder with modules; `function` finds one in what was written last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = Project(folder)

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")

    def function(self, text: str, name: str = "task") -> Place:
        """A function of a module that has the imports above, and what else the text says."""
        self.project = Project(self.folder)
        self.write("texts", IMPORTS + textwrap.dedent(text))
        place = self.project.function(f"texts.{name}")
        assert place is not None
        return place

    def body(self, statements: str, parameters: str = "self, order") -> Place:
        """A function with these statements."""
        inner = textwrap.indent(textwrap.dedent(statements).strip(), "    ")
        return self.function(f"def task({parameters}):\n{inner}\n")

    def reader(self) -> Reader:
        return Reader(self.project, "ctx.id")

    def times(self, statements: str) -> int:
        """How many effects these statements have."""
        place = self.body(statements)
        return self.reader().read(place).times

    def steps(self, statements: str) -> list[Step]:
        """The steps that these statements are to become."""
        place = self.body(statements)
        rewriter = Rewriter(place, lambda _name: "routed")
        return [rewriter.step(act) for act in self.reader().read(place).acts]

    def written(self, statements: str) -> list[str]:
        """What is to be written instead of these statements."""
        return [step.write for step in self.steps(statements)]
