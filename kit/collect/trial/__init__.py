"""Row security, tried safely on a live server: `try_access` and what it returns."""

from kit.collect.trial.attempt import try_access
from kit.collect.trial.records import Outcome, Subject, Trial, VisibleRows, trial_evidence

__all__ = ["Outcome", "Subject", "Trial", "VisibleRows", "trial_evidence", "try_access"]
