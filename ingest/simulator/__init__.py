"""An honest fleet of phones for demos and tests: it posts to the real door over real HTTP."""
