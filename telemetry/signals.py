"""The one way up: sent on commit, received in monitoring, which only publishes."""

from django.dispatch import Signal

# Keyword `changes`: a list of telemetry.statuses.StatusChange.
statuses_changed = Signal()
