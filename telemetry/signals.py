"""The only signal to a higher app: sent on commit, received by monitoring, which publishes it."""

from django.dispatch import Signal

# Keyword `changes`: a list of telemetry.statuses.StatusChange.
statuses_changed = Signal()
