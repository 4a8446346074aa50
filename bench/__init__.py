"""Measures a real stack under real load: `python -m bench`, or `make bench`."""
