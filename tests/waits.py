"""How long tests wait for something whose duration they do not test."""

# The machines that run tests stall at times.
LIMIT_S = 60
LIMIT_MS = 1000 * LIMIT_S
