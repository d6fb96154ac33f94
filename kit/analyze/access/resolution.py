"""From a name as the application writes it to the object that the server takes for it, or why there is none.

PostgreSQL manual, 4.1.1 "Identifiers" and 5.10.3 "The Schema Search Path"; in the source `RangeVarGetRelidExtended`,
`recomputeNamespacePath` (a schema without USAGE is left out of the path without a word).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.explanation import Gate, Remedy
from kit.analyze.access.holding import held
from kit.analyze.access.members import login_members
from kit.analyze.access.search_path import SearchPath, identifiers
from kit.analyze.findings import quoted
from kit.analyze.names import is_system_schema
from kit.errors import ParameterError

NEAR_LIMIT = 8
# Names of one schema resemble each other by chance below the first; in a short name one letter weighs more.
_RATIO, _SHORT_RATIO, _SHORT = 0.75, 0.6, 5
_SHORTEST_PART = 3
_JOINTS = frozenset("_-.@")
_ORIGINS = {
    "role in database": "set by ALTER ROLE … IN DATABASE",
    "role": "set by ALTER ROLE",
    "database": "set by ALTER DATABASE",
    "all": "set by ALTER ROLE ALL",
    "server": "set in the server's configuration",
    "default": "the built-in default",
    "assumed": "the built-in default, as far as can be seen",
    "session": "of the session as the server gave it",
    "member": "of the role that logs in",
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """The relation that the name stands for, if any, with the gate's status; `near` are names that may have been meant."""

    relation: Relation | None
    gate: Gate
    near: tuple[str, ...] = ()


def name_parts(text: str) -> tuple[str | None, str]:
    """Return schema and name, folded as the server folds them; ParameterError where it is no name.

    >>> name_parts('Shop."Order lines"')
    ('shop', 'Order lines')
    """
    names = _names(text)
    return (names[-2] if len(names) > 1 else None), names[-1]


def _names(text: str) -> list[str]:
    """Return the names between the dots: of an object, before it of its schema, before that of its database."""
    parts = [identifiers(part) for part in split_outside_quotes(text.strip(), ".")]
    names = [part[0] for part in parts if part is not None and len(part) == 1 and part[0]]
    if len(names) != len(parts) or len(names) > 3:
        hint = 'Write it as SQL would: orders, app.orders or app."Order lines".'
        raise ParameterError(f"{text!r} is not a name.", hint)
    return names


def resolve(catalog: Catalog, role: str, text: str) -> Resolved:
    """Return what the server finds under this name for a session of the role."""
    schema, name = name_parts(text)
    foreign = other_database(catalog, text)
    if foreign:
        return Resolved(None, Gate("name resolution", "failed", foreign))
    if schema is None:
        return _along_path(catalog, role, name)
    if schema in catalog.schemas and (schema, name) in catalog.by_name:
        relation = catalog.by_name[schema, name]
        return Resolved(relation, Gate("name resolution", "passed", f"{relation.qualified} is the {relation.kind} that is named"))
    if is_system_schema(schema):
        return Resolved(None, _unknown(f"the server's own relations in {schema} are not captured"))
    what = f"schema {quoted(schema)} has no relation {quoted(name)}"
    what = what if schema in catalog.schemas else f"there is no schema {quoted(schema)}"
    return _absent(catalog, name, f"{what} in database {quoted(catalog.access.database)}")


def other_database(catalog: Catalog, text: str) -> str | None:
    """Return why the server refuses a name of three parts, if its first is not the database that was looked at."""
    database, here = _names(text)[:-2], catalog.access.database
    if database in ([], [here]):
        return None
    return f"{text} names database {quoted(database[0])}: a session sees only its own database, which is {quoted(here)}"


def session_path(catalog: Catalog, role: str) -> SearchPath:
    """Return the search_path that a session of the role has: as the server gave it where the role asked itself.

    A role that does not log in has that of the role which does: SET ROLE applies no settings.
    """
    logins = login_members(catalog, role)
    if logins:
        return _members_path(catalog, role, logins)
    path = catalog.access.search_path(role)
    asked = catalog.rows("session")
    if asked and asked[0]["session_user_name"] == role == asked[0]["user_name"] and asked[0]["search_path"] != path.text:
        names = identifiers(asked[0]["search_path"])
        expanded = None if names is None else tuple(role if item == "$user" else item for item in names)
        return SearchPath(role, asked[0]["search_path"], expanded, "session")
    return path


def _members_path(catalog: Catalog, role: str, logins: Sequence[str]) -> SearchPath:
    texts = sorted({catalog.access.search_path(login).text for login in logins})
    if len(texts) > 1:
        return SearchPath(role, f"of {', '.join(map(quoted, logins[:2]))} … differ", None, "member")
    names = identifiers(texts[0])
    return SearchPath(role, texts[0], names and tuple(role if item == "$user" else item for item in names), "member")


def _unreadable(path: SearchPath) -> str:
    if path.origin == "member":
        return f"the search_paths of the roles that may SET ROLE to it ({path.text})"
    return "the role's search_path is masked or cannot be read"


def _along_path(catalog: Catalog, role: str, name: str) -> Resolved:
    path = session_path(catalog, role)
    if not path.is_known:
        return Resolved(None, _unknown(_unreadable(path)))
    holding = [
        schema for schema in dict.fromkeys(path.entries) if (schema, name) in catalog.by_name and schema in catalog.schemas
    ]
    usable = [schema for schema in holding if held(catalog, role, catalog.schemas[schema], "USAGE")]
    if holding:
        # Where none of them may be used, the first is what the application means: the next gate says what it lacks.
        relation = catalog.by_name[(usable or holding)[0], name]
        return Resolved(relation, Gate("name resolution", "passed", _found(relation, path, usable=bool(usable))))
    if name.startswith("pg_") and not any(item.name == name for item in catalog.relations.values()):
        return Resolved(None, _unknown("the server's own relations are not captured"))
    return _off_path(catalog, role, name, path)


def _found(relation: Relation, path: SearchPath, *, usable: bool) -> str:
    words = f"{quoted(relation.name)} is {relation.qualified}, by the search_path {_told(path)}"
    return words if usable else f"{words}; but the server leaves out schema {quoted(str(relation.schema))}, see below"


def _off_path(catalog: Catalog, role: str, name: str, path: SearchPath) -> Resolved:
    elsewhere = [item for item in catalog.relations.values() if item.name == name and not item.is_temporary]
    if not elsewhere:
        return _absent(catalog, name, f"no schema of database {quoted(catalog.access.database)} has a relation {quoted(name)}")
    able = [item for item in elsewhere if held(catalog, role, catalog.schemas[str(item.schema)], "USAGE")]
    places = ", ".join(item.qualified for item in elsewhere)
    because = f"{quoted(name)} is not on the search_path {_told(path)}, but there is {places}"
    relation = (able or elsewhere)[0] if len(able or elsewhere) == 1 else None
    remedy = _put_on_path(catalog, role, relation, path) if relation else None
    gate = Gate("name resolution", "failed", because, remedy)
    return Resolved(relation, gate, tuple(item.qualified for item in elsewhere))


def _absent(catalog: Catalog, name: str, because: str) -> Resolved:
    near = near_names(catalog, name)
    places = _places_elsewhere(catalog, name)
    if near:
        because += f"; near it: {', '.join(near)}"
    if places:
        because += f"; it is in {' and in '.join(places)}"
    if catalog.frames.identity and catalog.frames.identity.in_recovery:
        because += "; this server is a standby, which shows what its primary had when it last heard of it"
    return Resolved(None, Gate("name resolution", "failed", because), (*near, *places))


def near_names(catalog: Catalog, name: str) -> tuple[str, ...]:
    """Return relations whose names differ in letter case or by little, qualified, the nearest first."""
    return _nearest(name, {item.qualified: item.name for item in catalog.relations.values()})


def _nearest(name: str, names: dict[str, str]) -> tuple[str, ...]:
    """Return the keys whose values differ in letter case, then by little, then by what stands before or behind."""
    folded = name.lower()
    by_letters: dict[str, list[str]] = {}
    for key, value in names.items():
        by_letters.setdefault(value.lower(), []).append(key)
    same = [folded] if folded in by_letters else []
    close = difflib.get_close_matches(folded, by_letters, n=NEAR_LIMIT, cutoff=_SHORT_RATIO if len(name) <= _SHORT else _RATIO)
    longer = sorted(letters for letters in by_letters if _is_within(folded, letters))
    found = dict.fromkeys((*same, *close, *longer))
    return tuple(key for letters in found for key in sorted(by_letters[letters]))[:NEAR_LIMIT]


def _is_within(one: str, other: str) -> bool:
    """Return whether one is the other with something before or behind, as in `api` and `shop_api`."""
    shorter, longer = sorted((one, other), key=len)
    joints = {longer[len(shorter) : len(shorter) + 1] * longer.startswith(shorter)}
    joints |= {longer[-len(shorter) - 1 : -len(shorter)] * longer.endswith(shorter)}
    return len(shorter) >= _SHORTEST_PART and bool(joints & _JOINTS)


def close_to(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that are like this one, for an error's hint."""
    return list(_nearest(name, {item: item for item in names}))


def _places_elsewhere(catalog: Catalog, name: str) -> list[str]:
    """Return where the other databases of the instance have such a relation."""
    found = [row for row in catalog.rows("relations_elsewhere") if row["relation_name"].lower() == name.lower()]
    return [
        f"database {quoted(row['database_name'])} as {quoted(row['schema_name'])}.{quoted(row['relation_name'])}"
        for row in found[:NEAR_LIMIT]
    ]


def _listed_again(catalog: Catalog, names: Iterable[str]) -> Iterator[str]:
    """Yield the names as a list that the server takes; one name with commas in it was meant to be several."""
    for name in names:
        parts = [part.strip() for part in name.split(",")] if "," in name and name not in catalog.schemas else [name]
        yield from ('"$user"' if part == "$user" else quoted(part) for part in parts if part)


def _put_on_path(catalog: Catalog, role: str, relation: Relation, path: SearchPath) -> Remedy | None:
    schema = quoted(str(relation.schema))
    logins = login_members(catalog, role) or [role]
    known = identifiers(path.text)
    # The schema "$user" cannot be put there by its name, and for several login roles one statement is not enough.
    if known is None or relation.schema == "$user" or len(logins) > 1:
        return None
    # In this database only, and at the end, so that no other name changes its meaning.
    text = ", ".join(dict.fromkeys([*_listed_again(catalog, known), schema]))
    statement = f"alter role {quoted(logins[0])} in database {quoted(catalog.access.database)} set search_path = {text}"
    shadowed = [item.name for item in catalog.relations.values() if item.schema == relation.schema and item.name != relation.name]
    opens = (
        f"new sessions of {quoted(role)} find {len(shadowed)} more relations of {schema} by their plain names" if shadowed else ""
    )
    return Remedy(statement, f"{quoted(role)} itself (for its sessions), a role with CREATEROLE over it, or a superuser", opens)


def _told(path: SearchPath) -> str:
    return f"({path.text or 'empty'}; {_ORIGINS.get(path.origin, path.origin)})"


def _unknown(because: str) -> Gate:
    return Gate("name resolution", "unknown", because)


def split_outside_quotes(text: str, mark: str) -> list[str]:
    """Return the parts between the marks that stand outside of double quotes.

    >>> split_outside_quotes('app."f(x)"(integer)', "(")
    ['app."f(x)"', 'integer)']
    """
    parts, is_quoted = [""], False
    for letter in text:
        is_quoted ^= letter == '"'
        if letter == mark and not is_quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
