"""A visitor, with the site in this process: orders, and asks for the task's promise."""

from __future__ import annotations

import json
from typing import Any

from celery.signals import before_task_publish

from tests.ext.celery.flask_project import create_app
from tests.ext.celery.flask_project.orders import resonate


def main() -> None:
    """Print what the site answers."""
    sent: list[str] = []

    def remember(headers: dict[str, Any], **_: Any) -> None:
        sent.append(headers["id"])

    before_task_publish.connect(remember)
    visitor = create_app().test_client()
    answer = visitor.post("/orders/o-7").get_json()
    state = visitor.get(f"/promises/{sent[0]}").get_json()
    print(json.dumps([answer, state]))
    resonate.stop()


if __name__ == "__main__":
    main()
