"""Who could use what does not exist yet: the access list that a new table, sequence or function would begin with.

PostgreSQL manual: ALTER DEFAULT PRIVILEGES; in the source `get_user_default_acl` (aclchk.c). The creator's entry for all
schemas takes the place of the server's own default, its entry for the schema is added to that and can take nothing
away. What an event trigger does to new objects is not foreseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from kit.analyze.access.predefined import GIVEN, MAINTAIN_SINCE
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.access.privileges import Access, names
from kit.analyze.findings import quoted
from kit.analyze.names import is_system_schema
from kit.analyze.service_roles import ServiceRoles
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Frames

__all__ = ["COLUMNS", "KINDS", "NEEDS", "Forecast", "Given", "default_privileges_forecast"]
NEEDS = (*ACCESS_NEEDS, "default_privileges")
COLUMNS = (
    Column("creator_name", "string", data_class="identifier"),
    Column("seen_as", "list[string]"),
    Column("may_create", "boolean"),
    Column("schema_name", "string", data_class="identifier"),
    Column("kind", "string"),
    Column("role_name", "string", data_class="identifier"),
    Column("privileges", "list[string]"),
    Column("via", "list[string]", data_class="identifier"),
    Column("needed", "string"),
    Column("has_usage", "boolean"),
    Column("can_read", "boolean"),
    Column("existing", "Int64", "objects of the kind in the schema"),
    Column("existing_of_creator", "Int64", "objects of the kind in the schema"),
    Column("owner_names", "list[string]", data_class="identifier"),
    Column("remedy", "string", data_class="identifier"),
)

_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_OWNERS = {"table": _TABLE, "sequence": ("SELECT", "UPDATE", "USAGE"), "function": ("EXECUTE",)}
KINDS = tuple(_OWNERS)
# Of a sequence an application takes numbers: nextval asks for USAGE or UPDATE, and SELECT is of no use for it.
_NEEDED = {"table": ("SELECT",), "sequence": ("USAGE", "UPDATE"), "function": ("EXECUTE",)}

Privileges = frozenset[str]
_NOTHING: Privileges = frozenset()


@dataclass(frozen=True, slots=True)
class Given:
    """What one entry of the coming access list gives, and whose entry it is; the grantee None is PUBLIC."""

    grantee: str | None
    privileges: Privileges
    origin: str


class Forecast:
    """What every role could do with an object that a creator made in a schema at the time of the evidence."""

    def __init__(self, frames: Frames, access: Access) -> None:
        self._access = access
        self._version = frames.identity.server_version if frames.identity else 0
        self._entries = _entries(frames["default_privileges"])
        self._lists: dict[tuple[str, str, str], tuple[Given, ...]] = {}

    def access_list(self, creator: str, schema: str, kind: str) -> tuple[Given, ...]:
        """Return the access list that a new object of the kind (table, sequence, function) would begin with."""
        key = creator, schema, kind
        if key not in self._lists:
            everywhere = self._entries.get((creator, None, kind))
            base = self._built_in(creator, kind) if everywhere is None else everywhere
            self._lists[key] = (*base, *self._entries.get((creator, schema, kind), ()))
        return self._lists[key]

    def given(self, creator: str, schema: str, kind: str, role: str) -> tuple[Given, ...]:
        """Return the entries that count for the role, those of predefined roles and of superusers among them."""
        if self._access.is_superuser(role):
            return (Given(role, self._owners(kind), "superuser"),)
        roles = self._access.memberships(role)
        found = [item for item in self.access_list(creator, schema, kind) if item.grantee is None or item.grantee in roles]
        predefined = [
            Given(name, given["relation"] & self._owners(kind), "predefined role")
            for name, given in GIVEN.items()
            if name in roles
        ]
        return tuple(item for item in (*found, *predefined) if item.privileges)

    def privileges(self, creator: str, schema: str, kind: str, role: str) -> Privileges:
        """Return what has_table_privilege and its kin would say; they say nothing about the schema's USAGE."""
        return _NOTHING.union(*(item.privileges for item in self.given(creator, schema, kind, role)))

    def _built_in(self, creator: str, kind: str) -> tuple[Given, ...]:
        own = Given(creator, self._owners(kind), "owner")
        return (own, Given(None, frozenset({"EXECUTE"}), "PostgreSQL's own default")) if kind == "function" else (own,)

    def _owners(self, kind: str) -> Privileges:
        maintain = ("MAINTAIN",) if kind == "table" and self._version >= MAINTAIN_SINCE else ()
        return frozenset((*_OWNERS[kind], *maintain))


def default_privileges_forecast(frames: Frames) -> pd.DataFrame:
    """Return, for every creator seen, schema, kind and role that uses the schema, whether the role could use a new object.

    `can_read` asks for USAGE on the schema and one privilege, `needed`: SELECT on a table, USAGE on a sequence (UPDATE does as
    well), EXECUTE on a function. `existing`, `existing_of_creator` and `owner_names` tell who really made what is there.
    The remedy stands where the role can use what is there, or what another creator would make, but not this.
    """
    tables = _Tables(frames)
    return build_frame(COLUMNS, (row for schema in tables.schemas for kind in KINDS for row in tables.rows(schema, kind)))


class _Tables:
    """The rows of the forecast, schema by schema."""

    def __init__(self, frames: Frames) -> None:
        self._frames, self._access = frames, Access(frames)
        self._forecast = Forecast(frames, self._access)
        self._services = ServiceRoles(frames, self._access)
        self._roles = frames["roles"]
        known = frames["schemas"]["schema_name"]
        self.schemas = [name for name in known if not is_system_schema(name)]
        self._present = {"table": _Present(frames, is_sequence=False), "sequence": _Present(frames, is_sequence=True)}

    def rows(self, schema: str, kind: str) -> Iterator[tuple[object, ...]]:
        creators = self._creators(schema)
        for role in self._users[schema]:
            wanted = self._wanted(role, schema, kind, creators)
            for creator, seen_as in creators.items():
                yield self._row(creator, seen_as, schema, kind, role, wanted)

    def _row(self, creator: str, seen_as: list[str], schema: str, kind: str, role: str, wanted: Privileges) -> tuple[object, ...]:
        given = self._forecast.given(creator, schema, kind, role)
        privileges = _NOTHING.union(*(item.privileges for item in given))
        has_usage = self._access.has_schema_privilege(role, schema, "USAGE")
        can_read = has_usage and _is_usable(privileges, kind)
        owners = self._owners(schema, kind)
        return (
            creator,
            seen_as,
            self._access.has_schema_privilege(creator, schema, "CREATE"),
            schema,
            kind,
            role,
            _ordered(privileges),
            list(dict.fromkeys(_via(item, role, creator) for item in given)),
            _NEEDED[kind][0],
            has_usage,
            can_read,
            None if owners is None else owners.total(),
            None if owners is None else owners[creator],
            None if owners is None else sorted(owners),
            _remedy(creator, schema, kind, role, wanted - privileges) if has_usage and wanted and not can_read else None,
        )

    @cached_property
    def _users(self) -> Mapping[str, list[str]]:
        """The login roles that use each schema; not those that everything is open to anyway."""
        meant = {role: self._services.intention(role) for role in self._services}
        return {
            schema: [role for role, intention in meant.items() if intention.uses(schema) or schema in intention.defaults]
            for schema in self.schemas
        }

    def _creators(self, schema: str) -> dict[str, list[str]]:
        """Return who makes objects in the schema, and how that is known."""
        seen: dict[str, list[str]] = {}
        for words, found in (
            ("owner", {name for present in self._present.values() for name in present.owners(schema)}),
            ("default privileges", self._named(schema)),
            ("CREATE on the schema", self._able(schema)),
        ):
            for name in sorted(found & self._known):
                seen.setdefault(name, []).append(words)
        return seen

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._roles["role_name"])

    def _named(self, schema: str) -> set[str]:
        entries = self._frames["default_privileges"]
        return set(entries.loc[entries["schema_name"].isna() | (entries["schema_name"] == schema), "creator_name"])

    def _able(self, schema: str) -> set[str]:
        logins = self._roles.loc[self._roles["can_login"].astype(bool), "role_name"]
        return {name for name in logins if self._access.has_schema_privilege(name, schema, "CREATE")}

    def _owners(self, schema: str, kind: str) -> Counter[str] | None:
        """Return how many objects of the kind each role owns in the schema; None where they were not captured."""
        if kind != "function":
            return self._present[kind].owners(schema)
        if "functions" not in self._frames:
            return None
        functions = self._frames["functions"]
        return Counter(functions.loc[functions["schema_name"] == schema, "owner_name"])

    def _wanted(self, role: str, schema: str, kind: str, creators: Iterable[str]) -> Privileges:
        """Return what the role has on everything of the kind that it can use there, or else on what others would make."""
        if kind in self._present and (held := self._present[kind].held(self._access, role, schema)):
            return held
        given = ((creator, self._forecast.given(creator, schema, kind, role)) for creator in creators)
        # What comes with owning a thing tells nothing of what was meant.
        others = [_NOTHING.union(*(i.privileges for i in items if i.grantee != creator)) for creator, items in given]
        return _common(others, kind)


class _Present:
    """The relations of one kind that are there, by schema."""

    def __init__(self, frames: Frames, *, is_sequence: bool) -> None:
        self._kind = "sequence" if is_sequence else "table"
        relations = frames["relations"].reset_index(drop=True)
        chosen = relations[(relations["kind"] == "sequence") == is_sequence]
        self._places = {str(name): rows.index.to_numpy() for name, rows in chosen.groupby("schema_name")}
        self._owners = {str(name): Counter(rows["owner_name"]) for name, rows in chosen.groupby("schema_name")}

    def owners(self, schema: str) -> Counter[str]:
        return self._owners.get(schema, Counter())

    def held(self, access: Access, role: str, schema: str) -> Privileges:
        """Return the privileges that the role holds on every one of these that it can use."""
        if schema not in self._places:
            return _NOTHING
        bits = set(access.relation_privileges(role)[self._places[schema]].tolist())
        return _common([frozenset(names(int(found))) & frozenset(_OWNERS[self._kind]) for found in bits], self._kind)


def _entries(frame: pd.DataFrame) -> dict[tuple[str, str | None, str], tuple[Given, ...]]:
    """Return the entries by creator, schema (None: all) and kind; one from which everything was revoked is empty."""
    found: dict[tuple[str, str | None, str], list[Given]] = {}
    for row in frame.itertuples(index=False):
        schema = None if pd.isna(row.schema_name) else str(row.schema_name)
        items = found.setdefault((row.creator_name, schema, row.object_kind), [])
        grantee = None if pd.isna(row.grantee_name) else str(row.grantee_name)
        origin = "default privileges" if schema is None else f"default privileges in schema {quoted(schema)}"
        items.append(Given(grantee, frozenset(row.privileges), origin))
    return {key: tuple(items) for key, items in found.items()}


def _is_usable(privileges: Privileges, kind: str) -> bool:
    return not privileges.isdisjoint(_NEEDED[kind])


def _common(found: Iterable[Privileges], kind: str) -> Privileges:
    """Return what all of these have that are of use at all."""
    usable = [privileges for privileges in found if _is_usable(privileges, kind)]
    return usable[0].intersection(*usable[1:]) if usable else _NOTHING


def _ordered(privileges: Privileges) -> list[str]:
    return [name for name in (*_TABLE, "MAINTAIN", "USAGE", "EXECUTE") if name in privileges]


def _via(item: Given, role: str, creator: str) -> str:
    """Return in words by what the role has it."""
    if item.origin in ("superuser", "predefined role"):
        return item.origin if item.grantee == role else f"{item.origin} {item.grantee}"
    if item.grantee is None:
        return f"PUBLIC by {item.origin}"
    through = "" if item.grantee == role else f" through membership in {quoted(item.grantee)}"
    return ("owner" if item.grantee == creator else item.origin) + through


def _remedy(creator: str, schema: str, kind: str, role: str, wanted: Privileges) -> str:
    privileges = ", ".join(_ordered(wanted)).lower()
    where = f"for role {quoted(creator)} in schema {quoted(schema)}"
    return f"alter default privileges {where} grant {privileges} on {kind}s to {quoted(role)}"
