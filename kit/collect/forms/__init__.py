"""Collectors: the fact queries as a file that runs where the kit cannot go, and the way back from what it printed."""
