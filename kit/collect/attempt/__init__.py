"""A failed connection, tried again step by step: `attempt`, the evidence `connection_steps`, and its columns."""

from kit.collect.attempt.records import COLUMNS, STEPS
from kit.collect.attempt.steps import ATTEMPT_SECONDS, attempt

__all__ = ["ATTEMPT_SECONDS", "COLUMNS", "STEPS", "attempt"]
