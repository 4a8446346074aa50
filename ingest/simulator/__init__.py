"""A simulated fleet of phones for demos and tests, which posts to the real door over HTTP."""
