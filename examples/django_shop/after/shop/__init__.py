"""A shop as a Django project. Its Celery app is loaded with it, as `shared_task` needs."""

from __future__ import annotations

from shop.celery import app as celery_app

__all__ = ["celery_app"]
