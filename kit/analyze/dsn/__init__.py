"""Connection strings: read in any of their forms, judged, masked, corrected, compared; pure, and without a driver."""

from kit.analyze.dsn.examination import Examination, examine
from kit.analyze.dsn.findings import DsnFinding

__all__ = ["DsnFinding", "Examination", "examine"]
