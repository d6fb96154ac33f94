"""Declared columns, and the one way in which rows become a frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pandas as pd
import pyarrow as pa

from kit.errors import EvidenceMismatch

Dtype = Literal["string", "Int64", "Float64", "boolean", "datetime64[us, UTC]", "list[string]"]
DataClass = Literal["metadata", "identifier", "text", "personal"]
Mask = Literal["statement", "option", "message", "expression"]

DTYPES: tuple[str, ...] = get_args(Dtype)
DATA_CLASSES: tuple[str, ...] = get_args(DataClass)
MASKS: tuple[str, ...] = get_args(Mask)

_PANDAS: dict[str, Any] = {
    "string": pd.StringDtype("pyarrow"),
    "Int64": pd.Int64Dtype(),
    "Float64": pd.Float64Dtype(),
    "boolean": pd.BooleanDtype(),
    "datetime64[us, UTC]": pd.DatetimeTZDtype("us", "UTC"),
    "list[string]": pd.ArrowDtype(pa.list_(pa.string())),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column: dtype of the frame contract, unit in words, class of the data.

    `mask` names what the collecting room does to each value before it enters a frame.
    """

    name: str
    dtype: Dtype
    unit: str | None = None
    data_class: DataClass = "metadata"
    mask: Mask | None = None

    def __post_init__(self) -> None:
        for value, known in ((self.dtype, DTYPES), (self.data_class, DATA_CLASSES)):
            if value not in known:
                raise EvidenceMismatch(f"Column {self.name!r} declares {value!r}.", f"Known: {', '.join(known)}.")
        if self.mask is not None and self.mask not in MASKS:
            raise EvidenceMismatch(f"Column {self.name!r} declares the mask {self.mask!r}.", f"Known: {', '.join(MASKS)}.")


def empty_frame(columns: Sequence[Column]) -> pd.DataFrame:
    """Return a frame without rows that has the declared columns and dtypes."""
    return build_frame(columns, [])


def build_frame(columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return the rows as a frame of the declared dtypes; NaN, infinities and NUL bytes do not survive."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    if len(values) != len(columns):
        raise EvidenceMismatch(f"{len(values)} columns came back where {len(columns)} are declared.")
    series = {column.name: _series(column, list(data)) for column, data in zip(columns, values, strict=True)}
    return pd.DataFrame(series)


def conform(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return `frame` (as read from Parquet) with exactly the declared columns and dtypes."""
    expected = [column.name for column in columns]
    if list(frame.columns) != expected:
        raise EvidenceMismatch(f"The columns are {list(frame.columns)}, declared are {expected}.")
    return pd.DataFrame({c.name: _conformed(frame[c.name], c) for c in columns})


def pandas_dtype(arrow: pa.DataType) -> Any:
    """Return the dtype in which a column of a Parquet file is read.

    Whole numbers at once as Int64: on the way from Arrow's own dtype, with a NULL beside them, pandas makes them floats
    and they lose digits.
    """
    return _PANDAS["Int64"] if arrow == pa.int64() else pd.ArrowDtype(arrow)


def _conformed(series: pd.Series, column: Column) -> pd.Series:
    try:
        return series.astype(_PANDAS[column.dtype])
    except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise EvidenceMismatch(f"Column {column.name!r} is not {column.dtype}: {error}.") from error


def _series(column: Column, values: list[Any]) -> pd.Series:
    clean = _CLEANERS.get(column.dtype, lambda value: value)
    try:
        return pd.Series([None if v is None else clean(v) for v in values], dtype=_PANDAS[column.dtype])
    except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise EvidenceMismatch(f"Column {column.name!r} is not {column.dtype}: {error}.") from error


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    if isinstance(value, str) and value.isascii() and "\0" not in value:
        return value  # nearly all: a big catalog has a million of them
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _utc(value: Any) -> datetime | pd.Timestamp:
    moment: datetime | pd.Timestamp = value if isinstance(value, datetime) else pd.Timestamp(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_CLEANERS: dict[str, Any] = {
    "string": _text,
    "Float64": _finite,
    "datetime64[us, UTC]": _utc,
    "list[string]": lambda items: [None if item is None else _text(item) for item in items],
}
