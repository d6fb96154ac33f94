"""Where is it? A relation or column that "does not exist", looked for in every schema and database that was seen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from kit.analyze.access.privileges import Access
from kit.analyze.access.resolution import name_parts
from kit.analyze.ledgers import ledgers_by_database
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Frames
from kit.evidence.records import records

Match = Literal["exact", "other case", "near"]
_MATCHES: tuple[Match, ...] = ("exact", "other case", "near")
# Below this, names of a schema resemble each other by chance.
_LEAST_RATIO = 0.75
_MOST_NEAR = 10
_SHORTEST_PART = 4
_PLACE_NAMES = ("schema_name", "relation_name", "kind", "owner_name")

COLUMNS = (
    Column("database_name", "string", data_class="identifier"),
    Column("schema_name", "string", data_class="identifier"),
    Column("relation_name", "string", data_class="identifier"),
    Column("column_name", "string", data_class="identifier"),
    Column("kind", "string"),
    Column("owner_name", "string", data_class="identifier"),
    Column("match", "string"),
    Column("is_visible_to_role", "boolean"),
    Column("may_use", "boolean"),
    Column("ledger", "string"),
)
DATABASE_COLUMNS = (
    Column("database_name", "string", data_class="identifier"),
    Column("status", "string"),
    Column("reason", "string"),
    Column("ledger", "string"),
)


@dataclass(frozen=True, slots=True)
class _Place:
    """A relation that was found somewhere; `position` is its row in the frame `relations` of this database."""

    database: str
    schema: str
    relation: str
    kind: str
    owner: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class _Hit:
    """A place that has the name, or one like it; the lower `rank`, the more useful."""

    place: _Place
    column: str | None
    match: Match
    rank: tuple[Any, ...]


def search(frames: Frames, name: str | None, column: str | None = None, role: str | None = None) -> pd.DataFrame:
    """Return where a relation, or a column of it, may be: one row a place, the most useful first.

    `name` is as the application writes it: folded unless in double quotes; `column` is exact. Without a name the column
    is looked for in every relation. `match` tells how the last of the two is met. `is_visible_to_role`: the name alone
    finds it; `may_use`: USAGE and any privilege on it. Both are unknown for other databases and without a role.
    """
    schema, relation = name_parts(name) if name else (None, "")
    places = [*_here(frames), *_elsewhere(frames)]
    hits = _columns(frames, places, relation, column) if column else _relations(places, relation, schema)
    reach, ledgers = _Reach(frames, role), ledgers_by_database(frames)
    ordered = sorted(hits, key=lambda hit: (_MATCHES.index(hit.match), *hit.rank, *_order(hit, reach)))
    return build_frame(COLUMNS, [_row(hit, reach, ledgers) for hit in ordered])


def databases(frames: Frames) -> pd.DataFrame:
    """Return every database of the instance: whether its relations were looked at, why not, and its migration ledger."""
    ledgers, current = ledgers_by_database(frames), _current(frames)
    rows: list[tuple[Any, ...]] = [(current, "looked at", None, ledgers.get(current))]
    if "other_databases" in frames:
        rows += [_other(row, ledgers) for row in records(frames["other_databases"])]
    elif "databases" in frames:
        reason = "this capture did not ask other databases"
        rows += [(name, "not asked", reason, None) for name in _connectable(frames) if name != current]
    return build_frame(DATABASE_COLUMNS, rows)


def likeness(wanted: str, found: str) -> float:
    """Return how alike two names are, from 0 to 1; a name with or without a prefix or suffix counts as near.

    >>> likeness("siwe_nonce", "siwe_nonces") > 0.9, likeness("orders", "shop_orders") > 0.7
    (True, True)
    """
    if _is_part(wanted, found):
        return _LEAST_RATIO
    return difflib.SequenceMatcher(None, wanted, found).ratio()


def _is_part(wanted: str, found: str) -> bool:
    shorter, longer = sorted((wanted, found), key=len)
    return len(shorter) >= _SHORTEST_PART and (longer.endswith(f"_{shorter}") or longer.startswith(f"{shorter}_"))


def _relations(places: Iterable[_Place], name: str, schema: str | None) -> list[_Hit]:
    places = list(places)
    matches = _matches(name, {place.relation for place in places})
    return [
        _Hit(place, None, match, (-ratio, schema is not None and place.schema != schema))
        for place in places
        if place.relation in matches
        for match, ratio in [matches[place.relation]]
    ]


def _columns(frames: Frames, places: Iterable[_Place], relation: str, column: str) -> list[_Hit]:
    """Return the columns of that name or a like one: in the relation itself, and of exactly that name in others."""
    if "columns" not in frames:
        return []
    here = {(place.schema, place.relation): place for place in places if place.position is not None}
    known = records(frames["columns"][["schema_name", "relation_name", "column_name"]])
    meant = {name for name, (match, _) in _matches(relation, {name for _, name in here}).items() if match != "near"}
    own = {row["column_name"] for row in known if not relation or row["relation_name"] in meant}
    matches = _matches(column, own) | _spellings(column, {row["column_name"] for row in known})
    found = []
    for row in known:
        is_meant = not relation or row["relation_name"] in meant
        match, ratio = matches.get(row["column_name"], (None, 0.0))
        place = here.get((row["schema_name"], row["relation_name"]))
        if place and match and (is_meant or match != "near"):
            found.append(_Hit(place, row["column_name"], match, (not is_meant, -ratio)))
    return found


def _matches(wanted: str, names: Iterable[str]) -> dict[str, tuple[Match, float]]:
    """Return the names that are the wanted one, are so in other letters, or are like it, each with its likeness."""
    distinct = set(names)
    found = _spellings(wanted, distinct)
    near = sorted(((ratio, name) for name, ratio in _near(wanted, distinct - found.keys())), reverse=True)[:_MOST_NEAR]
    return found | {name: ("near", ratio) for ratio, name in near}


def _spellings(wanted: str, names: Iterable[str]) -> dict[str, tuple[Match, float]]:
    same = [name for name in names if name.casefold() == wanted.casefold()]
    return {name: ("exact" if name == wanted else "other case", 1.0) for name in same}


def _near(wanted: str, names: Iterable[str]) -> Iterable[tuple[str, float]]:
    folded = wanted.casefold()
    matcher = difflib.SequenceMatcher(None, b=folded, autojunk=False)
    for name in names:
        matcher.set_seq1(name.casefold())
        # The bounds first: they cost a fraction of the ratio, and a catalog may have ten thousand names.
        if _is_part(folded, name.casefold()) or (
            matcher.real_quick_ratio() >= _LEAST_RATIO and matcher.quick_ratio() >= _LEAST_RATIO
        ):
            ratio = likeness(folded, name.casefold())
            if ratio >= _LEAST_RATIO:
                yield name, ratio


def _here(frames: Frames) -> list[_Place]:
    current = _current(frames)
    return [
        _Place(current, row["schema_name"], row["relation_name"], row["kind"], row["owner_name"], position)
        for position, row in enumerate(records(frames["relations"][list(_PLACE_NAMES)]))
    ]


def _elsewhere(frames: Frames) -> list[_Place]:
    rows = records(frames["relations_elsewhere"]) if "relations_elsewhere" in frames else []
    return [_Place(*(row[name] for name in ("database_name", *_PLACE_NAMES))) for row in rows]


class _Reach:
    """What the role reaches in this database, by the rows of the frame `relations`."""

    def __init__(self, frames: Frames, role: str | None) -> None:
        access = Access(frames) if role is not None and role in set(frames["roles"]["role_name"]) else None
        self._access, self._role = access, role or ""
        if access is None:
            return
        self._path = access.visible_schemas(self._role)
        self._held = np.not_equal(access.relation_privileges(self._role) | access.column_privileges(self._role), 0)
        self._schemas_of: dict[str, set[str]] = {}
        for schema, name in zip(frames["relations"]["schema_name"], frames["relations"]["relation_name"], strict=True):
            self._schemas_of.setdefault(name, set()).add(schema)

    def visible(self, place: _Place) -> bool | None:
        """Return whether the relation's bare name means this very one."""
        if self._access is None or place.position is None:
            return None
        return next((schema for schema in self._path if schema in self._schemas_of[place.relation]), None) == place.schema

    def usable(self, place: _Place) -> bool | None:
        """Return whether the role has USAGE on the schema and any privilege on the relation."""
        if self._access is None or place.position is None:
            return None
        try:
            return bool(self._held[place.position]) and self._access.has_schema_privilege(self._role, place.schema, "USAGE")
        except KeyError:
            return None  # the schema vanished between the two queries


def _row(hit: _Hit, reach: _Reach, ledgers: Mapping[str, str]) -> tuple[Any, ...]:
    place = hit.place
    names = (place.database, place.schema, place.relation, hit.column, place.kind, place.owner)
    return (*names, hit.match, reach.visible(place), reach.usable(place), ledgers.get(place.database))


def _order(hit: _Hit, reach: _Reach) -> tuple[Any, ...]:
    place = hit.place
    is_elsewhere = place.position is None
    return (is_elsewhere, not reach.visible(place), not reach.usable(place), place.database, place.schema, place.relation)


def _other(row: Mapping[str, Any], ledgers: Mapping[str, str]) -> tuple[Any, ...]:
    name = row["database_name"]
    return name, "looked at" if row["status"] == "read" else row["status"], row["reason"], ledgers.get(name)


def _connectable(frames: Frames) -> list[str]:
    frame = frames["databases"]
    usable = frame["allows_connections"].astype(bool) & ~frame["is_template"].astype(bool)
    return [str(name) for name in frame.loc[usable, "database_name"]]


def _current(frames: Frames) -> str:
    if "databases" in frames:
        current = frames["databases"].loc[lambda frame: frame["is_current"].astype(bool), "database_name"]
        if len(current):
            return str(current.iloc[0])
    return frames.identity.database if frames.identity else ""
