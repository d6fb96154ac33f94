"""Checks of the area bloat."""
