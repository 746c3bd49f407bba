"""What `celery -A` is given."""

from __future__ import annotations

from tests.ext.celery.flask_project import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
