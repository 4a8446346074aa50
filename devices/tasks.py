"""What Celery runs of this room; each task calls one service."""

from celery import shared_task
from django.utils import timezone

from devices.audit.operator_access import operator_access_prune


@shared_task(name="devices.operator_access_prune")
def forget() -> None:
    operator_access_prune(ts=timezone.now())
