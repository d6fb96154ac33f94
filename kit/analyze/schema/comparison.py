"""What is expected against what is there: what is missing, what differs, and what the role cannot use.

One way only: what is there beyond the expectation is no difference, but for a column that would refuse every INSERT
that does not know it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from kit.analyze.findings import quoted
from kit.analyze.names import is_system_schema
from kit.analyze.schema import remedies
from kit.analyze.schema.actual import Actual, Record, family, is_default
from kit.analyze.schema.expected import ExpectedColumn, ExpectedExtension, ExpectedIndex, ExpectedRelation, ExpectedSchema
from kit.analyze.schema.types import spelling
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Frames

NOT_EXAMINED = "not examined"
NEAR_LIMIT = 4
COLUMNS = (
    Column("kind", "string"),
    Column("schema", "string", data_class="identifier"),
    Column("relation", "string", data_class="identifier"),
    Column("column", "string", data_class="identifier"),
    Column("expected", "string", data_class="identifier"),
    Column("actual", "string", data_class="identifier"),
    Column("difference", "string"),
    Column("because", "string", data_class="identifier"),
    Column("remedy", "string", data_class="identifier"),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected; `because` is the sentence for people, `remedy` the smallest thing that mends it."""

    kind: str
    difference: str
    because: str
    schema: str | None = None
    relation: str | None = None
    column: str | None = None
    expected: str | None = None
    actual: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A relation that is expected, and the one that was found for it."""

    expected: ExpectedRelation
    row: Record

    @property
    def qualified(self) -> str:
        """Return the name of the one that is there."""
        return f"{quoted(self.row['schema_name'])}.{quoted(self.row['relation_name'])}"

    def difference(self, kind: str, difference: str, because: str, **more: Any) -> Difference:
        """Return a difference of this relation."""
        return Difference(kind, difference, because, schema=self.row["schema_name"], relation=self.row["relation_name"], **more)


def compare(
    frames: Frames, expected: ExpectedSchema, path: Iterable[str] | None = None, actual: Actual | None = None
) -> list[Difference]:
    """Return how the database differs from what is expected, in the order of the expectation.

    `path` is the search_path by which names without a schema are looked for; None: that of whoever captured. `actual` is
    what the frames hold, where it was read from them before.
    """
    actual = actual or Actual(frames)
    found = list(_missing_evidence(frames, expected))
    found += [d for extension in expected.extensions for d in _extension(actual, extension)]
    schemas = _path(frames) if path is None else tuple(path)
    for relation in expected.relations:
        found += _of_relation(actual, relation, schemas)
    return [_doubted(frames, item) for item in found]


def _doubted(frames: Frames, item: Difference) -> Difference:
    """Return what seems missing as not examined, where there was more of it than was kept."""
    of = {"table": "relations", "column": "columns", "index": "indexes"}.get(item.kind, "")
    if item.difference == "missing" and of in frames and frames.is_truncated(of):
        return replace(item, difference=NOT_EXAMINED, because=f"{item.because} Or it was not among those that were kept.")
    return item


def located(actual: Actual, relation: ExpectedRelation, path: Iterable[str]) -> Place | None:
    """Return the relation that the name means, or None where there is none of that name there."""
    schemas = (relation.schema,) if relation.schema is not None else path
    row = next((actual.relations[s, relation.name] for s in schemas if (s, relation.name) in actual.relations), None)
    return Place(relation, row) if row else None


def to_frame(differences: Iterable[Difference]) -> pd.DataFrame:
    """Return the differences as a frame, one row each."""
    names = [column.name for column in COLUMNS]
    return build_frame(COLUMNS, [[getattr(item, name) for name in names] for item in differences])


def _missing_evidence(frames: Frames, expected: ExpectedSchema) -> Iterator[Difference]:
    for name in ("relations", "columns", *(["indexes"] if expected.has_indexes else [])):
        if name in frames and frames.is_truncated(name):
            yield Difference("evidence", NOT_EXAMINED, f"There are more {name} than were kept: what seems missing may be there.")
    if expected.has_indexes and "indexes" not in frames:
        gap = frames.gaps.get("indexes")
        yield Difference("evidence", NOT_EXAMINED, f"The indexes were not read: {gap.reason if gap else 'not captured'}.")
    for words in expected.unread:
        yield Difference("expectation", NOT_EXAMINED, f"Not read, and so not compared: {words}.", actual=None)


def _path(frames: Frames) -> tuple[str, ...]:
    return tuple(frames.identity.visible_schemas) if frames.identity else ("public",)


def _extension(actual: Actual, expected: ExpectedExtension) -> Iterator[Difference]:
    row = actual.extensions.get(expected.name)
    wanted = f"{expected.name} >= {expected.since}" if expected.since else expected.name
    if row is None:
        because = f"Extension {quoted(expected.name)} is missing."
        yield Difference("extension", "missing", because, expected=wanted, remedy=remedies.extension(expected.name))
    elif expected.since and _version(row["version"]) < _version(expected.since):
        because = f"Extension {quoted(expected.name)} is {row['version']}, older than {expected.since}."
        remedy = f"alter extension {quoted(expected.name)} update"
        yield Difference("extension", "version", because, expected=wanted, actual=row["version"], remedy=remedy)


def _version(text: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in text.replace("-", ".").split("."))


def _of_relation(actual: Actual, expected: ExpectedRelation, path: tuple[str, ...]) -> Iterator[Difference]:
    place = located(actual, expected, path)
    if place is None:
        yield _absent(actual, expected, path)
        return
    if expected.kind and family(place.row["kind"]) != expected.kind:
        because = f"{place.qualified} is a {place.row['kind']}, and a {expected.kind} is expected."
        yield place.difference("table", "kind", because, expected=expected.kind, actual=place.row["kind"])
    columns = actual.columns.get(place.row["relation_oid"], {})
    for column in expected.columns:
        yield from _column(place, column, columns)
    yield from _in_the_way(place, columns)
    if "indexes" in actual.frames:
        for index in expected.indexes:
            yield from _index(place, index, actual.indexes.get(place.row["relation_oid"], ()))


def _absent(actual: Actual, expected: ExpectedRelation, path: tuple[str, ...]) -> Difference:
    near = _near(actual, expected.name)
    alike = [f"{quoted(row['schema_name'])}.{quoted(row['relation_name'])}" for row in near]
    is_off_path = expected.schema is None and any(row["relation_name"] == expected.name for row in near)
    database = actual.frames.identity.database if actual.frames.identity else None
    where = f" in database {quoted(database)}" if database else ""
    named = expected.kind or "table"
    because = f"{named.capitalize()} {expected.qualified} is missing{_along(expected, path)}{where}."
    return Difference(
        "table",
        "off the path" if is_off_path else "missing",
        because + (f" Near it: {', '.join(alike)}." if alike else ""),
        expected.schema,
        expected.name,
        expected=named,
        actual=f"near: {', '.join(alike)}" if alike else None,
        remedy=remedies.path(alike[0]) if is_off_path else remedies.table(expected),
    )


def _along(expected: ExpectedRelation, path: tuple[str, ...]) -> str:
    if expected.schema is not None:
        return ""
    return f" on the search_path ({', '.join(quoted(name) for name in path if not is_system_schema(name)) or 'empty'})"


def _near(actual: Actual, name: str) -> list[Record]:
    """Return relations of the same name elsewhere or with other letters, then those of a name that is nearly the same."""
    names = [name.lower(), *difflib.get_close_matches(name.lower(), actual.by_name, NEAR_LIMIT, cutoff=0.8)]
    return [row for known in dict.fromkeys(names) for row in actual.by_name.get(known, ())][:NEAR_LIMIT]


def _column(place: Place, expected: ExpectedColumn, columns: dict[str, Record] | Any) -> Iterator[Difference]:
    row = columns.get(expected.name)
    named = f"Column {quoted(expected.name)} of {place.qualified}"
    if row is None:
        near = _near_column(expected.name, columns)
        because = f"{named} is missing.{f' Near it: {quoted(near)}.' if near else ''}"
        remedy, said = remedies.column(place.qualified, expected), expected.type.written if expected.type else None
        actual = f"near: {quoted(near)}" if near else None
        yield place.difference("column", "missing", because, column=expected.name, expected=said, actual=actual, remedy=remedy)
        return
    is_type = spelling(row["type_name"])
    if expected.type and not (is_type and expected.type.fits(is_type)):
        wanted = expected.type.written
        because = f"{named} is {row['type_name']}, and {wanted} is expected."
        remedy = remedies.type_change(place.qualified, expected)
        yield place.difference(
            "column", "type", because, column=expected.name, expected=wanted, actual=row["type_name"], remedy=remedy
        )
    yield from _nulls(place, expected, row, named)


def _nulls(place: Place, expected: ExpectedColumn, row: Record, named: str) -> Iterator[Difference]:
    if expected.is_not_null is not None and expected.is_not_null != row["is_not_null"]:
        wanted, found = ("not null", "null") if expected.is_not_null else ("null", "not null")
        because = f"{named} {'takes' if found == 'null' else 'refuses'} NULL, and {wanted} is expected."
        remedy = remedies.nullability(place.qualified, expected)
        yield place.difference(
            "column", "nullability", because, column=expected.name, expected=wanted, actual=found, remedy=remedy
        )
    if expected.fills_itself and not is_default(row):
        because = f"{named} takes no value of its own (no default, identity or sequence), and is expected to."
        yield place.difference("column", "default", because, column=expected.name, expected="a value of its own", actual="none")


def _near_column(name: str, columns: Any) -> str | None:
    """Return the column that may be meant: the same letters, written otherwise (platformId, platform_id)."""
    same = [other for other in columns if _letters(other) == _letters(name)]
    return same[0] if same else next(iter(difflib.get_close_matches(name, list(columns), 1, cutoff=0.8)), None)


def _letters(name: str) -> str:
    return name.replace("_", "").lower()


def _in_the_way(place: Place, columns: Any) -> Iterator[Difference]:
    """Yield columns that an INSERT by the expected columns would leave NULL, and that refuse it."""
    known = {column.name for column in place.expected.columns}
    for name, row in columns.items() if place.expected.is_whole and known else ():
        if name not in known and row["is_not_null"] and not is_default(row):
            because = f"Column {quoted(name)} of {place.qualified} is not expected, and refuses an INSERT that does not name it."
            remedy = f"alter table {place.qualified} alter column {quoted(name)} drop not null"
            yield place.difference("column", "in the way", because, column=name, actual="not null, no default", remedy=remedy)


def _index(place: Place, expected: ExpectedIndex, rows: Iterable[Record]) -> Iterator[Difference]:
    rows = list(rows)
    alike = [row for row in rows if _is_alike(expected, row)]
    named = f"Index {expected.written} of {place.qualified}"
    usable = [row for row in alike if row["is_valid"] and (row["is_unique"] or not expected.is_unique)]
    if usable:
        return
    remedy = remedies.index(place.qualified, expected)
    if not alike:
        yield place.difference("index", "missing", f"{named} is missing.", expected=expected.written, remedy=remedy)
        return
    row = alike[0]
    name = f"{quoted(row['schema_name'])}.{quoted(row['index_name'])}"
    if not row["is_valid"]:
        words, remedy = f"{name} is invalid, and serves no query", f"reindex index concurrently {name}"
        yield place.difference("index", "invalid", f"{named}: {words}.", expected=expected.written, actual=name, remedy=remedy)
    else:
        words = f"{named}: {name} is not unique."
        yield place.difference("index", "not unique", words, expected=expected.written, actual=name, remedy=remedy)


def _is_alike(expected: ExpectedIndex, row: Record) -> bool:
    """Return whether it is made of the same columns; of expressions only the name, or else their places, are known."""
    if None in expected.columns and expected.name:
        return bool(row["index_name"] == expected.name)
    made = (tuple(row["column_names"] or ()), row["access_method"], row["is_partial"])
    return bool(made == (expected.columns, expected.method, expected.is_partial))
