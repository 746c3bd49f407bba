"""The project's settings."""

from __future__ import annotations

import os

SECRET_KEY = "for tests only"
INSTALLED_APPS = ["tests.ext.celery.django_project.orders"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SITE_DATABASE", ":memory:"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

CELERY_BROKER_URL = os.environ.get("SITE_BROKER", "")
CELERY_RESULT_BACKEND = "rpc://"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESONATE_GROUP = "django"
