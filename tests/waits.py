"""How long tests wait for what has to happen, where the time is not what they test."""

# The machines that run tests stall at times.
LIMIT_S = 60
LIMIT_MS = 1000 * LIMIT_S
