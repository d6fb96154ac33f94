"""Checks of the area triage."""
