"""The page at which orders are placed."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from orders.models import Order
from orders.tasks import fulfil


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    """Place an order. A form that is sent again is the same order."""
    number, total = int(request.POST["number"]), int(request.POST["total"])
    with transaction.atomic():
        Order(number=number, total=total).save()
        fulfil.delay_on_commit(number)
    return JsonResponse({"order": number}, status=201)
