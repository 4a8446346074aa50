"""TCP ports on the loopback address."""

import socket

ADDRESS = "127.0.0.1"


def port_is_free(port: int) -> bool:
    """True if a server could listen on `port` now."""
    with socket.socket() as probe:
        # As the services do, so that a connection in TIME_WAIT does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
        return True


def port_choose(*preferred: int | None) -> int:
    """The first preferred port that is free, else any free one."""
    for port in preferred:
        if port is not None and port_is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])
