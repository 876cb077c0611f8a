"""Packing and checking what others install: `make bundle` and `make plugin-check`."""
