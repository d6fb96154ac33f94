"""The facts that may lie behind a gate, told of two sides of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kit.analyze.access.catalog import Catalog, Entity, Relation
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import GATES, Explanation, GateName, Question
from kit.analyze.access.predefined import GIVEN
from kit.analyze.findings import quoted
from kit.evidence.model import Identity

OF_OBJECTS = GATES[GATES.index("name resolution") :]
_BY_GRANTS: tuple[GateName, ...] = (
    "connect", "schema usage", "object privilege", "column privilege", "view owner", "sequence", "function",
)  # fmt: skip
_PREDEFINED = frozenset(GIVEN)
_NAMES_SHOWN = 5
_PER_MAJOR = 10_000


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is not the same on both sides."""

    name: str
    a: str
    b: str


@dataclass
class Side:
    """One of the two, with what its facts are taken from."""

    catalog: Catalog
    question: Question

    @cached_property
    def explanation(self) -> Explanation:
        """Return the answer, gate by gate."""
        return explained(self.catalog, self.question)

    @cached_property
    def entity(self) -> Entity | None:
        """Return the relation, schema, function or type that was meant, or None where there is none."""
        known: Mapping[str, Mapping[str, Entity]] = {
            "relation": self.catalog.relations,
            "schema": self.catalog.schemas,
            "function": self.catalog.functions,
            "type": self.catalog.types,
        }
        items = known.get(self.question.kind, {}).values()
        return next((item for item in items if item.qualified == self.explanation.object_name), None)

    @property
    def relation(self) -> Relation | None:
        """Return the relation that was meant, or None."""
        return self.entity if isinstance(self.entity, Relation) else None

    @property
    def schema(self) -> Entity | None:
        """Return the schema that was meant, or that of the object."""
        if self.question.kind == "schema" or self.entity is None:
            return self.entity
        return self.catalog.schemas.get(str(self.entity.schema))

    @property
    def identity(self) -> Identity | None:
        """Return who asked, and which server answered."""
        return self.catalog.frames.identity

    @property
    def role(self) -> dict[str, Any]:
        """Return the role's row."""
        return self.catalog.indexed("roles", "role_name")[(self.question.role,)][0]

    @property
    def granted_on(self) -> list[Entity]:
        """Return the objects whose access lists the gates look at."""
        found = (self.entity, self.schema, Entity("database", self.catalog.access.database, ""))
        return [entity for entity in found if entity is not None]

    @cached_property
    def migrations(self) -> list[str] | None:
        """Return the applied migrations in order; None where no ledger was read."""
        if "migrations" not in self.catalog.frames:
            return None
        frame = self.catalog.frames["migrations"]
        applied = frame[~frame["is_failed"].fillna(False).astype(bool) & frame["rolled_back_at"].isna()]
        at = applied["finished_at"].fillna(applied["started_at"])
        return list(applied.assign(at=at).sort_values(["at", "migration_name"])["migration_name"])


def facts(a: Side, b: Side, gate: GateName) -> Iterator[Fact]:
    """Yield what may lie behind the gate and is not the same on both sides."""
    for name, gates, tell in _FACTS:
        pair = tell(a, b) if gate in gates else None
        if pair and pair[0] != pair[1]:
            yield Fact(name, *pair)


def lacking(side: Side, other: Side) -> list[str]:
    """Return the migrations that only the other side has applied, in order."""
    return [name for name in other.migrations or () if name not in (side.migrations or ())]


Pair = tuple[str, str] | None


def _each(tell: Callable[[Side], str | None]) -> Callable[[Side, Side], Pair]:
    """Return a fact that each side tells by itself; one that knows nothing leaves the fact out."""

    def both(a: Side, b: Side) -> Pair:
        one, other = tell(a), tell(b)
        return None if one is None or other is None else (one, other)

    return both


def _server(a: Side, b: Side) -> Pair:
    """Return the servers; the same start, or the same address but for sockets, is the same server."""
    one, other = _started(a), _started(b)
    if one is None or other is None or one == other:
        return None
    addresses = [side.identity.server for side in (a, b) if side.identity]
    if addresses[0] == addresses[-1] != "local socket":
        return None
    return f"{addresses[0]}, started {one}", f"{addresses[-1]}, started {other}"


def _started(side: Side) -> str | None:
    rows = side.catalog.rows("session")
    return f"{rows[0]['server_started_at']:%Y-%m-%d %H:%M:%S.%f} UTC" if rows else None


def _recovery(side: Side) -> str | None:
    identity = side.identity
    return None if identity is None else "a standby, in recovery" if identity.in_recovery else "no standby"


def _version(side: Side) -> str | None:
    return f"PostgreSQL {side.identity.server_version // _PER_MAJOR}" if side.identity else None


def _migrations(a: Side, b: Side) -> Pair:
    if a.migrations is None and b.migrations is None:
        return None
    return _ledger(a, b), _ledger(b, a)


def _ledger(side: Side, other: Side) -> str:
    if side.migrations is None:
        return "no ledger was read"
    last = f"{len(side.migrations)} applied" + (f", the last is {side.migrations[-1]}" if side.migrations else "")
    missing = lacking(side, other)
    return f"{last}; lacks {_listed(missing)}" if missing else last


def _login(side: Side) -> str:
    role = side.role
    parts = ["may log in" if role["can_login"] else "NOLOGIN"]
    parts += [f"valid until {role['valid_until']:%Y-%m-%d %H:%M} UTC"] if role["valid_until"] is not None else []
    parts += [f"at most {role['connection_limit']} connections"] if role["connection_limit"] >= 0 else []
    return ", ".join(parts)


def _superuser(side: Side) -> str:
    return "superuser" if side.role["is_superuser"] else "no superuser"


def _bypass(side: Side) -> str:
    return "bypasses row security" if side.role["bypasses_row_security"] or side.role["is_superuser"] else "is bound by it"


def _search_path(side: Side) -> str:
    path = side.catalog.access.search_path(side.question.role)
    return path.text or "empty"


def _object(a: Side, b: Side) -> Pair:
    one, other = (f"{s.entity.kind} {s.entity.qualified}" if s.entity else "not there" for s in (a, b))
    return one, other


def _owner(side: Side) -> str | None:
    return quoted(side.entity.owner) if side.entity else None


def _memberships(a: Side, b: Side) -> Pair:
    """Return the roles that only one side inherits from, as far as an access list of either speaks of them."""
    return _inherited(a, b, _PREDEFINED | _speaking(a) | _speaking(b))


def _speaking(side: Side) -> frozenset[str]:
    grants = (grant for entity in side.granted_on for grant in side.catalog.grants(entity))
    return frozenset(grant.grantee for grant in grants if grant.grantee is not None)


def _all_memberships(a: Side, b: Side) -> Pair:
    """Return the same where the gate looks at other objects than the one that was named."""
    return _inherited(a, b, a.catalog.access.graph.names | b.catalog.access.graph.names)


def _inherited(a: Side, b: Side, names: frozenset[str]) -> Pair:
    if a.role["is_superuser"] or b.role["is_superuser"]:
        return None
    one, other = (side.catalog.access.memberships(side.question.role) & names - {side.question.role} for side in (a, b))
    return _only(one, other), _only(other, one)


def _only(one: frozenset[str], other: frozenset[str]) -> str:
    return _listed(sorted(map(quoted, one - other))) or "none of these"


def _schema_grants(side: Side) -> str | None:
    return _grants(side, side.schema, "USAGE") if side.schema else None


def _object_grants(side: Side) -> str | None:
    return _grants(side, side.entity, side.question.action) if side.entity else None


def _grants(side: Side, entity: Entity, privilege: str) -> str:
    granted = {grant.grantee for grant in side.catalog.grants(entity) if privilege in grant.privileges}
    return f"{privilege} to {_listed(sorted('PUBLIC' if name is None else quoted(name) for name in granted)) or 'nobody'}"


def _security(side: Side) -> str | None:
    if side.relation is None:
        return None
    if not side.relation.has_row_security:
        return "off"
    names = [row["policy_name"] for row in side.catalog.indexed("policies", "relation_oid").get((side.relation.oid,), [])]
    forced = ", also for its owner" if side.relation.forces_row_security else ""
    return f"on{forced}; policies: {_listed(sorted(map(quoted, names))) or 'none'}"


def _invoker(side: Side) -> str | None:
    if side.relation is None or side.relation.kind != "view":
        return None
    return "reads as the caller" if side.relation.is_security_invoker else f"reads as {quoted(side.relation.owner)}"


# What may lie behind which gate, in the order in which it is told.
_FACTS: tuple[tuple[str, tuple[GateName, ...], Callable[[Side, Side], Pair]], ...] = (
    ("server", GATES, _server),
    ("recovery", GATES, _each(_recovery)),
    ("database", GATES[1:], _each(lambda side: quoted(side.catalog.access.database))),
    ("migrations", OF_OBJECTS, _migrations),
    ("object", OF_OBJECTS, _object),
    ("search_path", ("name resolution",), _each(_search_path)),
    ("login", ("login",), _each(_login)),
    ("superuser", _BY_GRANTS, _each(_superuser)),
    ("memberships", _BY_GRANTS[:4], _memberships),
    ("memberships", _BY_GRANTS[4:], _all_memberships),
    ("grants on the schema", ("schema usage",), _each(_schema_grants)),
    ("grants on the object", ("object privilege",), _each(_object_grants)),
    ("owner", ("object privilege", "view owner", "row security"), _each(_owner)),
    ("view", ("view owner",), _each(_invoker)),
    ("row security", ("row security",), _each(_security)),
    ("bypass", ("row security",), _each(_bypass)),
    ("version", _BY_GRANTS, _each(_version)),
)


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _NAMES_SHOWN} more" if len(shown) > _NAMES_SHOWN else ""
    return ", ".join(shown[:_NAMES_SHOWN]) + more
