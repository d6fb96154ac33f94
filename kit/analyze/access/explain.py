"""Why a role may or may not do something: every gate in order, and the smallest remedy.

Pure, over the frames of one database. The questions are those of `Question`; the answers are held against the server's
own on random catalogs (tests/test_access_explained.py, `make fuzz-access`).

Known limits: what is constant only to the planner is not seen (`f(a) or true` inside one expression, an SQL function whose
body is a constant, a view's `where false`); a trigger's body is not read (where it names a relation that the role may not
write, the answer is unknown); the foreign keys that a partition has from its parent are not in the evidence, where the
partition is named directly; FOR UPDATE is asked as an UPDATE, which is stricter for views. Where the server's answer
depends on how a view joins its relations, on a cascade, it is unknown, and the gate says so.
"""

from __future__ import annotations

from dataclasses import replace

from kit.analyze.access import function_gate, gates, other_objects, remedies, session_gates
from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.explanation import GATES, Explanation, Gate, GateName, Question, Remedy, Rows
from kit.analyze.access.missing_columns import missing_columns
from kit.analyze.access.predefined import MAINTAIN_SINCE
from kit.analyze.access.privileges import Access
from kit.analyze.access.reading import read
from kit.analyze.access.resolution import NEAR_LIMIT, close_to, name_parts, resolve
from kit.analyze.access.row_security import Added
from kit.analyze.access.session_state import stopped
from kit.analyze.access.uses import ROW_ACTIONS
from kit.analyze.findings import quoted
from kit.errors import ParameterError, UnknownRole
from kit.evidence.model import Frames

_OF_TABLES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
ACTIONS = (*_OF_TABLES, "USAGE", "EXECUTE", "CREATE", "CONNECT")
_OF_SEQUENCES = ("USAGE", "SELECT", "UPDATE")
Behind = tuple[Gate, ...]
_BEHIND: tuple[GateName, ...] = ("view owner", "row security", "sequence", "function")


def explain(frames: Frames, question: Question, access: Access | None = None) -> Explanation:
    """Return the answer to one question; UnknownRole, ParameterError where it cannot be asked like this."""
    return explained(Catalog(frames, access), question)


def explained(catalog: Catalog, question: Question) -> Explanation:
    """Return the answer, for many questions about the same catalog."""
    _refuse(catalog, question)
    session = _session(catalog, question)
    if question.kind != "relation":
        name, behind, near = other_objects.gates_of(catalog, question)
        return Explanation(question, (*session, *_completed(behind)), None, name, near)
    found = resolve(catalog, question.role, question.name)
    if found.relation is None:
        rest = _completed((found.gate,), "there is no relation to look at")
        return Explanation(question, (*session, *rest), None, None, found.near)
    missing = missing_columns(catalog, question, found.relation)
    if missing:
        gate, near = missing
        usage = gates.schema_usage(catalog, question.role, str(found.relation.schema))
        rest = _completed((gate, usage), "the server does not come to it")
        return Explanation(question, (*session, *rest), None, found.relation.qualified, near)
    behind, rows = _relation_gates(catalog, question, found.relation)
    return Explanation(question, (*session, found.gate, *behind), rows, found.relation.qualified, found.near)


def _session(catalog: Catalog, question: Question) -> tuple[Gate, Gate]:
    login, connect = session_gates.login(catalog, question.role), session_gates.connect(catalog, question.role)
    if question.kind == "database" and name_parts(question.name)[1] != catalog.access.database:
        return login, gates.not_applicable("connect", "the database that is asked about is judged below")
    return login, connect if connect.status == "failed" else stopped(catalog, question.role, question.action) or connect


def _relation_gates(catalog: Catalog, question: Question, relation: Relation) -> tuple[tuple[Gate, ...], Rows | None]:
    usage = gates.schema_usage(catalog, question.role, str(relation.schema))
    misfit = _misfit(question.action, relation)
    if misfit:
        rest = _completed((Gate("object privilege", "failed", misfit),), "the action is not for this kind of relation")
        return (usage, *rest[2:]), None
    whole, columns = gates.object_and_columns(catalog, question, relation)
    if question.action not in ROW_ACTIONS:
        behind = tuple(gates.not_applicable(name, f"{question.action} reads and writes no rows") for name in _BEHIND)
        return (usage, whole, columns, *behind), None
    below, rows = _behind(catalog, question, relation)
    is_denied = any(gate.status == "failed" and not gate.is_silent for gate in (usage, whole, columns, *below))
    return (usage, whole, columns, *below), None if is_denied and rows != "none" else rows


def _behind(catalog: Catalog, question: Question, relation: Relation) -> tuple[Behind, Rows | None]:
    below, rows = _judged(catalog, question, relation, frozenset())
    security = below[1]
    if security.status != "failed" or security.remedy is None:
        return below, rows
    remedy, then = _opened(catalog, question, relation, security)
    mended = tuple(
        replace(gate, remedy=_mending(after, remedy)) if gate.status == "failed" else gate
        for gate, after in zip(below, then, strict=True)
    )
    # A policy may bring along what cannot be judged beforehand.
    doubts = [f"; with a policy: {gate.because}" for gate in then if gates.NOT_KNOWN in gate.because][:1]
    told = "".join([security.because, *doubts])
    return (mended[0], replace(security, remedy=remedy, because=told), *mended[2:]), rows


def _mending(then: Gate, remedy: Remedy | None) -> Remedy | None:
    """Return what mends a gate once row security is opened: what it still needs then, or no more than that."""
    return then.remedy if then.status == "failed" else remedy


def _judged(
    catalog: Catalog, question: Question, relation: Relation, added: frozenset[Added]
) -> tuple[tuple[Gate, ...], Rows | None]:
    reading = read(catalog, question, relation, added)
    security, rows = gates.row_security(catalog, question, reading)
    owner, sequence = gates.view_owner(catalog, reading, relation), gates.sequence(catalog, question, reading)
    return (owner, security, sequence, function_gate.functions(catalog, question, reading, rows)), rows


def _opened(catalog: Catalog, question: Question, relation: Relation, security: Gate) -> tuple[Remedy | None, Behind]:
    """Return all that is needed once a policy lets rows through, and the gates as they are then.

    The conditions of the others are evaluated then. Nothing helps where the server then refuses for another reason.
    """
    parts, added, current = [], frozenset[Added](), security
    then, _ = _judged(catalog, question, relation, added)
    while current.status == "failed":
        if current.remedy is None or current.missing_policy in added:
            return None, then
        parts.append(current.remedy)
        if current.missing_policy is None:
            break
        added |= {current.missing_policy}
        then, _ = _judged(catalog, question, relation, added)
        current = then[1]
    if added:
        parts += [gate.remedy for gate in (then[0], then[3]) if gate.status == "failed" and gate.remedy]
    return remedies.together(parts), then


def _misfit(action: str, relation: Relation) -> str | None:
    """Return why the server would refuse the action for this kind of relation, whoever asks."""
    able = _OF_SEQUENCES if relation.kind == "sequence" else _OF_TABLES
    is_read_only = relation.kind == "materialized view" and action in ("INSERT", "UPDATE", "DELETE")
    is_no_table = relation.kind in ("view", "materialized view") and action == "TRUNCATE"
    return f"{action} is not for a {relation.kind}" if action not in able or is_read_only or is_no_table else None


def _completed(known: tuple[Gate, ...], because: str = "the question does not come to it") -> tuple[Gate, ...]:
    """Return the gates from the name on, those that are not known as not applicable."""
    by_name = {gate.name: gate for gate in known}
    return tuple(by_name.get(name) or gates.not_applicable(name, because) for name in GATES[2:])


def _refuse(catalog: Catalog, question: Question) -> None:
    names = catalog.access.graph.names
    if question.role not in names:
        raise UnknownRole(f"There is no role {quoted(question.role)} on this server.", _hint(catalog, question.role))
    if question.action not in ACTIONS:
        raise ParameterError(f"{question.action!r} is no action.", f"Use one of {', '.join(ACTIONS)}.")
    if question.action == "MAINTAIN" and catalog.version < MAINTAIN_SINCE:
        raise ParameterError(
            "MAINTAIN exists from PostgreSQL 17 on.", "Before, the owner and superusers run VACUUM and the like."
        )


def _hint(catalog: Catalog, role: str) -> str:
    """Return roles with names like this one; where there is none, some of those that log in."""
    near = close_to(role, catalog.access.graph.names)
    logins = sorted(row["role_name"] for row in catalog.rows("roles") if row["can_login"])[:NEAR_LIMIT]
    words, names = ("Near it", near) if near else ("Some that log in", logins)
    return f"{words}: {', '.join(quoted(name) for name in names)}."
