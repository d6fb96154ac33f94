"""Which columns of the relations below a view a statement comes to read: the planner drops what nobody reads.

In the source: `pull_up_subqueries` and `remove_unused_subquery_outputs` (which keeps volatile columns).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.holding import WHOLE_ROW
from kit.analyze.access.uses import Columns, Live


def live_of(catalog: Catalog, view: Relation, columns: Columns) -> Live:
    """Return what a statement that names these columns reads of the view (None: all); volatile columns are never dropped."""
    if columns is None or WHOLE_ROW in columns or view.oid not in catalog.updatable:
        return Live()
    return Live(frozenset(columns) | _volatile(catalog, view))


def base_columns(catalog: Catalog, view: Relation, columns: Columns) -> Columns:
    """Return the columns of the one table below a view that these are; None where that is not known."""
    sources = dict(_sources(catalog, view))
    if not columns:
        return columns
    if not all(sources.get(column, ("", ""))[1] for column in columns):
        return None
    return tuple(sources[column][1] for column in columns)


def computed(catalog: Catalog, view: Relation, columns: Columns) -> list[str]:
    """Return which of these columns of the view are computed."""
    sources = dict(_sources(catalog, view))
    return [column for column in columns or () if column in sources and not sources[column][1]]


def live_below(catalog: Catalog, view: Relation, record: Mapping[str, Any], live: Live, *, is_single: bool) -> Live:
    """Return what is read of a relation below the view, where `live` is read of the view itself."""
    below = catalog.relations.get(record["relation_oid"])
    if below is None or below.kind != "view":
        return Live()
    wanted = live_of(catalog, below, tuple(record["column_names"]))
    if wanted.surely is None or record["target_column"] is not None or view.oid not in catalog.updatable:
        return wanted
    found = {column: _reading(catalog, view, below, column, live, is_single=is_single) for column in record["column_names"]}
    named = [frozenset(column for column, how in found.items() if how == wish) for wish in ("surely", "perhaps")]
    return Live(named[0] | _volatile(catalog, below), named[1])


def _reading(catalog: Catalog, view: Relation, below: Relation, column: str, live: Live, *, is_single: bool) -> str:
    sources = dict(_sources(catalog, view))
    plain = [name for name, source in sources.items() if source == (below.oid, column)]
    if any(live.has(name) for name in plain):
        return "surely"
    readers = _readers(catalog, view, _positions(catalog, below).get(column))
    # A number may be that of another relation's column, where the view has several.
    surely = [live.has(name) for name in readers]
    if any(surely) and (is_single or (all(surely) and not plain)):
        return "surely"
    return "perhaps" if any(live.may_have(name) for name in readers) else ""


def _readers(catalog: Catalog, view: Relation, position: str | None) -> list[str | None]:
    """Return the view's columns that are made with this column of the relation below; None is what is no column of it."""
    names = {str(number): name for name, number in _positions(catalog, view).items()}
    pairs = (pair.split() for pair in catalog.updatable[view.oid]["read_positions"])
    return [names.get(number) for number, read_position in pairs if read_position == position]


def _sources(catalog: Catalog, view: Relation) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each column of the view with the relation (its OID) and the column that it is, empty where it is computed."""
    known = catalog.updatable.get(view.oid, {})
    names = catalog.columns.get(view.oid, [])
    pairs = zip(known.get("source_oids") or (), known.get("source_columns") or (), strict=True)
    return zip(names, pairs, strict=False)


def _positions(catalog: Catalog, relation: Relation) -> dict[str, str]:
    records = catalog.indexed("columns", "relation_oid").get((relation.oid,), [])
    return {record["column_name"]: str(record["position"]) for record in records}


def _volatile(catalog: Catalog, view: Relation) -> frozenset[str]:
    records = catalog.indexed("function_uses", "user_kind", "relation_oid").get(("view", view.oid), [])
    kinds = catalog.indexed("functions", "function_oid")
    return frozenset(
        record["target_column"]
        for record in records
        if record["target_column"] and any(own["volatility"] == "volatile" for own in kinds.get((record["function_oid"],), ()))
    )
