"""Checks of the area slow queries."""
