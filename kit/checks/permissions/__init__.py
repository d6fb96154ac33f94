"""Checks of the area permissions."""
