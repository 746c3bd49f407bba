"""An order from its form to its mail, with tasks that run where they are called.

python manage.py test
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from django.core.management import call_command
from django.test import TestCase, override_settings

from orders.models import Charge, Mail, Parcel
from shop.celery import app


class Provider(BaseHTTPRequestHandler):
    """A payment provider that has one receipt."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"receipt": "R7"}).encode())

    def log_message(self, *_: object) -> None:
        return


class Orders(TestCase):
    """Each test is in a transaction of its own, in which the tasks have to see the order."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        app.conf.update(task_always_eager=True, task_eager_propagates=True)
        provider = HTTPServer(("127.0.0.1", 0), Provider)
        serving = threading.Thread(target=provider.serve_forever)
        serving.start()
        for end in (provider.server_close, serving.join, provider.shutdown):
            cls.addClassCleanup(end)
        url = f"http://127.0.0.1:{provider.server_port}"
        cls.enterClassContext(override_settings(PROVIDER_URL=url))

    def place(self, number: int) -> Any:
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.post("/orders/", {"number": number, "total": 25})

    def test_an_order_is_paid_packed_and_mailed(self) -> None:
        assert self.place(7).status_code == 201

        assert [one.receipt for one in Charge.objects.filter(order_id=7)] == ["R7"]
        [parcel] = Parcel.objects.filter(order_id=7)
        [mail] = Mail.objects.filter(order_id=7)
        assert mail.text == f"Paid with receipt R7, sent as parcel P{parcel.pk}."

    def test_the_migrations_make_the_models(self) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
