"""Durable Celery tasks: one decorator, the same queues, messages, backends and workers.

Importing this connects to nothing; the first decorated task listens to Celery's signals.
"""

from __future__ import annotations

from resonate_amqp.ext.celery.configuring import from_celery
from resonate_amqp.ext.celery.durable import durable
from resonate_amqp.ext.celery.eager import forget_eager
from resonate_amqp.ext.celery.install import install
from resonate_amqp.ext.celery.tasks import DurableTask

__all__ = ["DurableTask", "durable", "forget_eager", "from_celery", "install"]
