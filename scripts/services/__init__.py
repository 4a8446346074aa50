"""PostgreSQL with TimescaleDB, and Valkey, without installing anything on the system."""

from scripts.services.control import Endpoints, Name, Services, Status
from scripts.services.errors import ServiceError, UnsupportedSystemError

__all__ = ["Endpoints", "Name", "ServiceError", "Services", "Status", "UnsupportedSystemError"]
