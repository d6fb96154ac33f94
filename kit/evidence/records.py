"""The rows of a frame as plain Python records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

Record = Mapping[str, Any]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as records of plain Python values; what is missing is None, times are UTC."""
    columns = {str(name): _values(frame[name]) for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] if columns else []


def _values(column: pd.Series) -> list[Any]:
    present = column.notna().to_numpy()
    if isinstance(column.dtype, pd.StringDtype):
        # Plain already, and most of what a catalog holds.
        return [value if is_there else None for value, is_there in zip(column.tolist(), present, strict=True)]
    return [_plain(value) if is_there else None for value, is_there in zip(column.tolist(), present, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if not pd.api.types.is_scalar(value):
        return list(value)
    return value.item() if hasattr(value, "item") else value
