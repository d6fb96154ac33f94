"""How much of each table's file its rows do not need: an estimate from statistics, with its confidence.

The formula is that of ioguix/pgsql-bloat-estimation (a page of 8192 bytes with a header of 24, rows with a
header of 23 bytes and a null bitmap aligned to 8, 4 bytes for each row's pointer, fillfactor), corrected
where it was measured to be wrong: the file's real size instead of `relpages`, counted live rows instead of
`reltuples`, the padding between columns, whole rows on a page, and "unknown" instead of 0 where a number is missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kit.analyze.names import is_system_schema
from kit.evidence.columns import Column, conform
from kit.evidence.model import Frames

PAGE_BYTES = 8192
PAGE_HEADER_BYTES = 24
ROW_HEADER_BYTES = 23
ROW_POINTER_BYTES = 4
# Without alignment in the evidence: half of the padding to 8 bytes that every row ends with.
_MEAN_PADDING_BYTES = 4
# From this share of changed rows on, the statistics of columns may describe other rows than those there are.
_STALE_FRACTION = 0.5

COLUMNS = (
    Column("schema_name", "string", data_class="identifier"),
    Column("relation_name", "string", data_class="identifier"),
    Column("kind", "string"),
    Column("table_bytes", "Int64", "bytes"),
    Column("live_rows", "Int64", "rows"),
    Column("dead_rows", "Int64", "rows"),
    Column("expected_bytes", "Int64", "bytes"),
    Column("wasted_bytes", "Int64", "bytes"),
    Column("dead_bytes", "Int64", "bytes"),
    Column("wasted_fraction", "Float64", "fraction of table_bytes"),
    Column("confidence", "string"),
    Column("is_lower_bound", "boolean"),
    Column("reason", "string"),
    Column("evidence_row", "Int64", "row of relation_sizes"),
)
NEEDS = ("relation_sizes", "relations", "table_statistics", "column_widths")

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def estimate_heap(frames: Frames) -> pd.DataFrame:
    """Return one row a table or materialized view: its size, what its rows need, and the rest.

    `confidence` is "good", "low" or missing; `reason` says why it is not good. Missing means that nothing can be
    said; `is_lower_bound` that only dead rows were counted and free space is unknown. Dead rows are in
    `dead_bytes` and in `wasted_bytes` too: VACUUM makes their room usable again, only a rewrite gives it back.
    """
    tables = _joined(frames)
    rows = _live_rows(tables)
    row_bytes = _row_bytes(tables)
    size = _numbers(tables, "table_bytes")
    dead = dead_rows(tables)
    expected = _expected_bytes(rows, row_bytes, _fillfactors(tables["options"]))
    is_lower_bound = np.isnan(expected) & (dead > 0) & ~np.isnan(size)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(is_lower_bound, size * rows / (rows + dead), expected)
        wasted = np.maximum(size - expected, 0)
        # Of a table without live rows no widths are known: what is there is dead, unless VACUUM removed it.
        dead_bytes = np.where(np.isnan(row_bytes), np.where(dead > 0, wasted, 0.0), np.minimum(dead * row_bytes, wasted))
        fraction = np.where(size > 0, wasted / size, np.where(np.isnan(wasted), np.nan, 0.0))
    reasons = _reasons(tables, rows, is_lower_bound)
    frame = tables[["schema_name", "relation_name", "kind", "table_bytes"]].copy()
    for name, values in (("live_rows", rows), ("dead_rows", dead), ("expected_bytes", expected)):
        frame[name] = _whole(values)
    frame["wasted_bytes"], frame["dead_bytes"] = _whole(wasted), _whole(np.where(np.isnan(wasted), np.nan, dead_bytes))
    frame["wasted_fraction"] = pd.Series(fraction).astype("Float64")
    frame["confidence"] = pd.Series(np.where(reasons == "", "good", "low")).mask(np.isnan(wasted))
    frame["is_lower_bound"] = is_lower_bound
    frame["reason"] = pd.Series(reasons, dtype=object).mask(reasons == "")
    frame["evidence_row"] = tables["evidence_row"]
    return conform(frame, COLUMNS)


def shown_bytes(count: float) -> str:
    """Return a size for a reader, in decimal units.

    >>> shown_bytes(8192), shown_bytes(12_400_000)
    ('8.2 kB', '12.4 MB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def in_user_schema(schema_names: pd.Series) -> pd.Series:
    """Return which of the names are schemas of the users; a missing name is none."""
    verdicts = {name: not is_system_schema(name) for name in schema_names.dropna().unique()}
    return schema_names.map(lambda name: verdicts.get(name, False)).astype(bool)


def _joined(frames: Frames) -> pd.DataFrame:
    sizes = frames["relation_sizes"]
    sizes = sizes.assign(evidence_row=np.arange(len(sizes)))
    tables = sizes[in_user_schema(sizes["schema_name"])]
    for name in ("relations", "table_statistics", "column_widths"):
        other = frames[name].drop(columns=["schema_name", "relation_name", "kind"], errors="ignore")
        tables = tables.merge(other, on="relation_oid", how="left")
    return tables.reset_index(drop=True)


def _live_rows(tables: pd.DataFrame) -> Numbers:
    """Return the live rows: as counted, unless the counters are known to be wrong."""
    counted, estimated = _numbers(tables, "live_rows"), _numbers(tables, "estimated_rows")
    anew = np.where(_is_counted(tables), counted, np.fmax(counted, estimated))
    return np.where(_is_counted_twice(tables), estimated, anew)


def dead_rows(tables: pd.DataFrame) -> Numbers:
    """Return the counted dead rows; none where a vacuum removed them and the counter has them again."""
    is_vacuumed = tables[["last_vacuum_at", "last_autovacuum_at"]].notna().any(axis=1).to_numpy(dtype=bool)
    counted = np.nan_to_num(_numbers(tables, "dead_rows"))
    return np.where(_is_counted_twice(tables) & is_vacuumed, 0.0, counted)


def _is_counted_twice(tables: pd.DataFrame) -> Flags:
    """Return where rows written just before a VACUUM or ANALYZE of the same session were counted again.

    The server sets the counters to what it saw and later adds the session's pending ones. It shows where the
    balance of inserted and deleted rows agrees with the catalog's number, and the live rows with neither.
    """
    estimated = _numbers(tables, "estimated_rows")
    balance = _numbers(tables, "rows_inserted") - _numbers(tables, "rows_deleted")
    tolerance = 0.01 * np.maximum(estimated, 1)
    agrees = np.abs(balance - estimated) <= tolerance
    return np.asarray(agrees & (np.abs(_numbers(tables, "live_rows") - estimated) > tolerance), dtype=bool)


def _is_counted(tables: pd.DataFrame) -> Flags:
    """Return where a vacuum or analyze has set the counters; a reset (or a crash) forgets both.

    A table that was never touched by either (its estimate is missing) counts from its creation on.
    """
    touched = tables[["last_vacuum_at", "last_autovacuum_at", "last_analyze_at", "last_autoanalyze_at"]].notna()
    return np.asarray(touched.any(axis=1) | tables["estimated_rows"].isna(), dtype=bool)


def _row_bytes(tables: pd.DataFrame) -> Numbers:
    """Return the mean bytes of a row with its header and pointer; missing where a column's width is."""
    dropped, nulls = _numbers(tables, "dropped_column_count"), _numbers(tables, "null_fraction_sum")
    columns = _numbers(tables, "column_count")
    # The bitmap covers dropped columns too, which every later row holds as NULL.
    with_bitmap = np.ceil((ROW_HEADER_BYTES + np.ceil((columns + dropped) / 8)) / 8) * 8
    share = np.where(dropped > 0, 1.0, np.minimum(np.nan_to_num(nulls), 1.0))
    plain_header = ROW_HEADER_BYTES + 1
    data = _numbers(tables, "aligned_row_bytes")
    data = np.where(np.isnan(data), _numbers(tables, "average_row_bytes") + _MEAN_PADDING_BYTES, data)
    is_seen = _numbers(tables, "visible_column_count") == columns
    data = np.where(columns == 0, 0.0, np.where(is_seen, data, np.nan))
    return plain_header + (with_bitmap - plain_header) * share + data + ROW_POINTER_BYTES


def _expected_bytes(rows: Numbers, row_bytes: Numbers, fillfactors: Numbers) -> Numbers:
    room = PAGE_BYTES - PAGE_HEADER_BYTES - PAGE_BYTES * (1 - fillfactors)
    per_page = np.maximum(np.floor(room / row_bytes), 1)
    return np.where(rows == 0, 0.0, np.ceil(rows / np.where(np.isnan(row_bytes), np.nan, per_page)) * PAGE_BYTES)


def _fillfactors(options: pd.Series) -> Numbers:
    found = [option_number(items, "fillfactor") for items in plain_lists(options)]
    return np.array([1.0 if number is None else number / 100 for number in found], dtype=float)


def plain_lists(lists: pd.Series) -> list[list[str] | None]:
    """Return a column of lists as Python's own; value by value it would take a second for 30,000."""
    values: list[list[str] | None] = pa.array(lists).to_pylist()
    return values


def option_number(options: list[str] | None, name: str) -> float | None:
    """Return a storage parameter of a table as a number, from texts such as `fillfactor=70`; None if not set."""
    text = option_text(options, name)
    return None if text is None else float(text)


def option_text(options: list[str] | None, name: str) -> str | None:
    """Return a storage parameter of a table as the user wrote it; None if not set."""
    return next((item.partition("=")[2] for item in options or [] if item.partition("=")[0] == name), None)


def _reasons(tables: pd.DataFrame, rows: Numbers, is_lower_bound: Flags) -> Any:
    """Return why a row's estimate is missing or of low confidence; empty where it is good."""
    visible, columns = _numbers(tables, "visible_column_count"), _numbers(tables, "column_count")
    is_locked = tables["is_locked"].fillna(False).to_numpy(dtype=bool) | tables["table_bytes"].isna().to_numpy(dtype=bool)
    unseen = (visible < columns) & (rows != 0)
    analyzed = tables[["last_analyze_at", "last_autoanalyze_at", "estimated_rows"]].notna().any(axis=1).to_numpy(dtype=bool)
    hidden = [_hidden(*counts) if is_unseen else "" for *counts, is_unseen in zip(visible, columns, unseen, strict=True)]
    changed = np.nan_to_num(_numbers(tables, "rows_modified_since_analyze")) >= _STALE_FRACTION * np.maximum(rows, 1)
    dropped = np.nan_to_num(_numbers(tables, "dropped_column_count")) > 0
    bound = np.where(is_lower_bound, "; judged by the counted dead rows alone", "")
    return np.select(
        [
            is_locked,
            unseen & ~analyzed,
            unseen,
            np.isnan(rows) | np.isnan(visible),
            dropped,
            ~_is_counted(tables),
            _is_counted_twice(tables),
            changed & (rows > 0),
        ],
        [
            "another session holds or awaits ACCESS EXCLUSIVE on it",
            "never analyzed" + bound.astype(object),
            np.array(hidden, dtype=object) + bound.astype(object),
            "it appeared while the evidence was taken",
            "columns were dropped: old rows still hold their values, which only a rewrite removes",
            "the counters began anew and it was not vacuumed or analyzed since",
            "the server counted the live rows twice; the catalog's number of rows is used",
            "half of the rows or more changed since the last ANALYZE",
        ],
        default="",
    )


def _hidden(visible: float, columns: float) -> str:
    return f"statistics of {columns - visible:.0f} of {columns:.0f} columns are not visible to this role, or were never gathered"


def _numbers(tables: pd.DataFrame, column: str) -> Numbers:
    values: Numbers = tables[column].to_numpy(dtype=float, na_value=np.nan)
    return values


def _whole(values: Numbers) -> pd.Series:
    return pd.Series(np.round(values)).astype("Float64").astype("Int64")
