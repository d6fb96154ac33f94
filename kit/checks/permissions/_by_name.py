"""Taking from PUBLIC what it holds, so that nobody who works with it today is shut out: grants by name come first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

import pandas as pd

from kit.analyze.access.privileges import mask, names
from kit.analyze.exposure import Exposure, public_rows
from kit.analyze.findings import quoted
from kit.analyze.users import Users
from kit.checks.permissions._functions import revoke, signature
from kit.checks.permissions._many import Row
from kit.evidence.model import Frames

# Statements of more names than these are no easier to read, or to decide on, than words.
_NAMES_WRITTEN = 50
_ROLES_WRITTEN = 20
_EXECUTE = 1
# What is granted in one statement: the privilege, on which kind of thing, to whom.
_Grant = tuple[str, tuple[str, ...]]


class ByName:
    """The statements, or words, that put grants by name in the place of those to PUBLIC."""

    def __init__(self, frames: Frames, exposure: Exposure) -> None:
        self._frames, self._exposure, self._access = frames, exposure, exposure.access

    def public_privileges(self, oids: Iterable[str]) -> list[str]:
        """Return what PUBLIC holds on these relations, on single columns too."""
        return sorted({name for oid in oids for name in (*self._on_relations.get(oid, ()), *self._on_columns.get(oid, {}))})

    def relations(self, kind: str, schema: str, rows: pd.DataFrame) -> str:
        """Return what takes everything on these relations from PUBLIC."""
        if len(rows) > _NAMES_WRITTEN:
            return self._words(f"what PUBLIC holds on the {kind}s of schema {quoted(schema)}", schema)
        grants: dict[_Grant, list[str]] = defaultdict(list)
        called = []
        for place, oid, name in zip(rows.index, rows["relation_oid"], rows["relation_name"], strict=True):
            called.append(f"{quoted(schema)}.{quoted(name)}")
            for privileges, roles in self._lacking(int(place), oid, schema).items():
                grants[f"{privileges} on {kind}", roles].append(called[-1])
        return self._statements(grants, f"revoke all on {kind} {', '.join(called)} from public", schema)

    def schema(self, schema: str) -> str:
        """Return what takes USAGE on a schema from PUBLIC."""
        own = {role: _EXECUTE for role in self._users.names if self._has_usage(role, schema)}
        lacking = self._users.lacking(schema, _EXECUTE, own, _EXECUTE)
        grants: dict[_Grant, list[str]] = {("usage on schema", roles): [quoted(schema)] for roles in lacking.values()}
        return self._statements(grants, f"revoke usage on schema {quoted(schema)} from public", schema)

    def functions(self, schema: str, functions: Sequence[Row]) -> str:
        """Return what takes EXECUTE on these functions from PUBLIC; ROUTINE stands for functions and procedures."""
        if len(functions) > _NAMES_WRITTEN:
            return self._words(f"EXECUTE on the SECURITY DEFINER functions of schema {quoted(schema)}", schema)
        return self._statements(self._executing(functions), revoke(functions, ["public"]), schema)

    def execute(self, functions: Sequence[Row], strangers: Collection[str]) -> list[str]:
        """Return the grants of EXECUTE to those who have it through PUBLIC only, but for these."""
        return _written(self._executing(functions, strangers))

    def _executing(self, functions: Sequence[Row], strangers: Collection[str] = ()) -> dict[_Grant, list[str]]:
        found: dict[_Grant, list[str]] = defaultdict(list)
        for function in functions:
            held = {role: _EXECUTE for role in self._users.names if role in strangers or self._may_execute(role, function)}
            for roles in self._users.lacking(function["schema_name"], _EXECUTE, held, _EXECUTE).values():
                found["execute on routine", roles].append(signature(function))
        return found

    @cached_property
    def _users(self) -> Users:
        return Users(self._frames, self._exposure)

    @cached_property
    def _on_relations(self) -> Mapping[str, frozenset[str]]:
        grants = public_rows(self._frames["relation_grants"])
        found: dict[str, frozenset[str]] = {}
        for oid, privileges in zip(grants["relation_oid"], grants["privileges"], strict=True):
            found[oid] = found.get(oid, frozenset()) | set(privileges)
        return found

    @cached_property
    def _on_columns(self) -> Mapping[str, Mapping[str, list[str]]]:
        """Return the columns that PUBLIC holds a privilege on, by relation and privilege."""
        grants = public_rows(self._frames["column_grants"])
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for oid, column, privileges in zip(grants["relation_oid"], grants["column_name"], grants["privileges"], strict=True):
            for privilege in privileges:
                found[oid][privilege].append(column)
        return found

    def _lacking(self, place: int, oid: str, schema: str) -> dict[str, tuple[str, ...]]:
        """Return who would lack what on a relation, the privileges as GRANT has them."""
        own = {role: int(self._access.relation_privileges(role, public=False)[place]) for role in self._users.names}
        whole = mask(self._on_relations.get(oid, ()))
        lacking = self._users.lacking(schema, whole, own, whole)
        found = {", ".join(names(bits)).lower(): roles for bits, roles in lacking.items()}
        for privilege, columns in self._on_columns.get(oid, {}).items():
            # Of what is granted on columns a role may hold some by itself: granting it again does no harm.
            listed = ", ".join(quoted(column) for column in columns)
            for roles in self._users.lacking(schema, mask((privilege,)) & ~whole, own, mask((privilege,))).values():
                found[f"{privilege.lower()} ({listed})"] = roles
        return found

    def _has_usage(self, role: str, schema: str) -> bool:
        grants = self._frames["schema_grants"]
        named = grants[(grants["schema_name"] == schema) & grants["grantee_name"].isin(self._access.memberships(role))]
        return any("USAGE" in privileges for privileges in named["privileges"])

    def _may_execute(self, role: str, function: Row) -> bool:
        if function["owner_name"] in self._access.memberships(role):
            return True
        grants = self._frames["function_grants"]
        mine = grants.loc[grants["function_oid"] == function["function_oid"], "grantee_name"]
        return bool(mine.isin(self._access.memberships(role)).any())

    def _statements(self, grants: Mapping[_Grant, list[str]], revoked: str, schema: str) -> str:
        if any(len(roles) > _ROLES_WRITTEN for _, roles in grants):
            return self._words("it", schema)
        return ";\n".join((*_written(grants), revoked))

    def _words(self, what: str, schema: str) -> str:
        return (
            f"Find out which roles use {quoted(schema)} through PUBLIC alone, grant {what} to these by name, and only then "
            "revoke it from PUBLIC: until then the revoke shuts them out."
        )


def _written(grants: Mapping[_Grant, list[str]]) -> list[str]:
    return [f"grant {what} {', '.join(on)} to {', '.join(map(quoted, roles))}" for (what, roles), on in grants.items()]
