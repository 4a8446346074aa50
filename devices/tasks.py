"""This app's Celery tasks; each calls the service it is named after."""

from celery import shared_task
from django.utils import timezone

from devices.audit import operator_access


@shared_task(name="devices.operator_access_prune")
def operator_access_prune() -> int:
    return operator_access.operator_access_prune(ts=timezone.now())
