"""The smallest statement that mends a difference, or words where a statement would lose or guess something."""

from __future__ import annotations

from kit.analyze.findings import quoted
from kit.analyze.schema.expected import ExpectedColumn, ExpectedIndex, ExpectedRelation


def table(expected: ExpectedRelation) -> str:
    """Return what brings a missing table: a statement would make it without what the migrations add to it."""
    return f"Run the migrations that create {expected.qualified} against this database, after checking that it is the right one."


def path(qualified: str) -> str:
    """Return what makes a table found that stands in a schema where nobody looks."""
    return f"Put the schema of {qualified} on the role's search_path, or name it with its schema where it is used."


def column(qualified: str, expected: ExpectedColumn) -> str:
    """Return the statement that adds a column; in words where its type is not known, or rows would refuse it."""
    if expected.type is None:
        return f"Run the migration that adds {quoted(expected.name)} to {qualified}."
    statement = f"alter table {qualified} add column {quoted(expected.name)} {expected.type.written}"
    if not expected.is_not_null:
        return statement
    return f"Run the migration that adds it, or: {statement}; fill it; then set it NOT NULL."


def type_change(qualified: str, expected: ExpectedColumn) -> str:
    """Return in words how a type is changed: it may rewrite the table, and lose what does not fit."""
    assert expected.type is not None
    statement = f"alter table {qualified} alter column {quoted(expected.name)} type {expected.type.written}"
    return f"Look at the values first (it may rewrite and lock the table), then: {statement}"


def nullability(qualified: str, expected: ExpectedColumn) -> str:
    """Return the statement; SET NOT NULL fails while a row holds NULL, which harms nothing."""
    return f"alter table {qualified} alter column {quoted(expected.name)} {'set' if expected.is_not_null else 'drop'} not null"


def index(qualified: str, expected: ExpectedIndex) -> str:
    """Return the statement that makes an index without holding up writes; words where not all of it is known."""
    if None in expected.columns or expected.is_partial:
        return f"Run the migration that creates the index{f' {quoted(expected.name)}' if expected.name else ''} on {qualified}."
    columns = ", ".join(quoted(str(name)) for name in expected.columns)
    unique, using = "unique " if expected.is_unique else "", "" if expected.method == "btree" else f" using {expected.method}"
    return f"create {unique}index concurrently on {qualified}{using} ({columns})"


def extension(name: str) -> str:
    """Return the statement that installs an extension."""
    return f"create extension {quoted(name)}"
