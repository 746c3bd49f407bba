"""A Flask project after Flask's and Celery's documentation: an app factory, and shared tasks."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task
from flask import Flask

from tests.ext.celery.flask_project.orders import blueprint


def create_app() -> Flask:
    """The factory."""
    app = Flask(__name__)
    app.config.from_mapping(
        CURRENCY="EUR",
        CELERY={
            "broker_url": os.environ["BROKER_URL"],
            "result_backend": "rpc://",
            "resonate_group": "flask",
            "broker_connection_retry_on_startup": True,
        },
    )
    app.register_blueprint(blueprint)
    celery_init_app(app)
    return app


def celery_init_app(app: Flask) -> Celery:
    """As https://flask.palletsprojects.com/en/stable/patterns/celery/ writes it."""

    class FlaskTask(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app
