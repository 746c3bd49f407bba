"""A Django project after Celery's documentation."""

from __future__ import annotations

from tests.ext.celery.django_project.celery import app as celery_app

__all__ = ["celery_app"]
