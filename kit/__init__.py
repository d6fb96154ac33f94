"""Incident Kit: the names a notebook may use, and nothing else.

Importing this package imports nothing heavy; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {"open_case": "kit.case.opened", "capture": "kit.case.opened", "show": "kit.case.opened", "Case": "kit.case.opened"}
__all__ = ["Case", "__version__", "capture", "open_case", "show"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
