"""Checks of the area deploy history."""
