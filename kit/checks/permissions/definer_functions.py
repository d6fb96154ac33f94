"""Functions that bypass row security.

What it shows: SECURITY DEFINER functions that an exposed role may call, that run as an owner whom row security does not
bind, and whose bodies name tables with row security.

Why it matters: such a function sees and changes all rows, whoever calls it. EXECUTE goes to everybody by default, so
that a helper written for one place is an open door for all.

What to do: if strangers are not meant to call it, revoke EXECUTE (and grant it by name to the services that have it through
PUBLIC: the remedy names them). If they are, make sure that it answers about the caller
only. One that a policy calls must stay executable: put it into a schema that no interface exposes.

Known limits: a warning; an observation where a policy calls the function, which is a usual way out of policies that ask
each other. A name in the body may be a comment, and a table named in a string that is put together is not seen. Trigger
functions are left out: nobody can call them. Exposed roles are those of kit.toml, else PUBLIC, `anon`, `authenticated`.

References: PostgreSQL manual, CREATE FUNCTION ("Writing SECURITY DEFINER Functions Safely").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.exposure import PUBLIC, Exposure
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.checks.permissions._by_name import ByName
from kit.checks.permissions._functions import definer_functions, evidence, revoke, subject
from kit.checks.permissions._many import Row, by_schema, grouped, listed
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = (
    *ACCESS_NEEDS,
    "column_grants",
    "functions",
    "function_grants",
    "function_mentions",
    "function_uses",
    "default_privileges",
)
SEVERITIES: tuple[Severity, ...] = ("warning", "info")

_KEPT = (
    "Make sure that it answers about the caller only. Policies call it, so EXECUTE must stay: move it to a schema that no "
    "interface exposes (ALTER FUNCTION … SET SCHEMA; the policies follow)."
)
# What a role may call a function through, by the role.
Callers = Mapping[str, list[str]]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per function name, or per schema with many, that opens protected tables to an exposed role."""
    exposure = Exposure(frames)
    yield from exposure.not_examined()
    functions = [function for function in definer_functions(frames) if not function["returns_trigger"]]
    yield Examined(len(functions))
    opened = _opened(frames, functions, exposure)
    callers = {oid: _callers(function, exposure) for function in functions if (oid := function["function_oid"]) in opened}
    guilty = [function for function in functions if callers.get(function["function_oid"])]
    policies = _policies(frames)
    by_name = ByName(frames, exposure)
    found = (_finding(group, opened, callers, policies, by_name) for group in grouped(guilty, "schema_name", "function_name"))
    yield from by_schema(found, "functions")


def _opened(frames: Frames, functions: Iterable[Row], exposure: Exposure) -> dict[str, list[Subject]]:
    """Return, by function, the tables with row security that its body names and its owner sees in full."""
    relations, mentions = frames["relations"], frames["function_mentions"]
    protected = relations[relations["has_row_security"].astype(bool)].set_index("relation_oid").to_dict("index")
    owners = {function["function_oid"]: function["owner_name"] for function in functions}
    found: dict[str, list[Subject]] = {}
    for function, oid in zip(mentions["function_oid"], mentions["relation_oid"], strict=True):
        table = protected.get(oid)
        if table is None or function not in owners:
            continue
        if exposure.is_exempt(owners[function], table["owner_name"], is_forced=bool(table["forces_row_security"])):
            found.setdefault(function, []).append(Subject("table", table["relation_name"], table["schema_name"]))
    return found


def _callers(function: Row, exposure: Exposure) -> Callers:
    return {role: through for role in exposure.roles if (through := exposure.grantees(role, function))}


def _policies(frames: Frames) -> dict[str, list[str]]:
    """Return, by function, the policies that call it."""
    uses = frames["function_uses"]
    rows = uses[uses["user_kind"].str.startswith("policy").astype(bool)]
    found: dict[str, list[str]] = {}
    for oid, name in zip(rows["function_oid"], rows["user_name"], strict=True):
        found.setdefault(oid, []).append(quoted(name))
    return found


def _finding(
    functions: Sequence[Row],
    opened: Mapping[str, list[Subject]],
    callers: Mapping[str, Callers],
    policies: Mapping[str, list[str]],
    by_name: ByName,
) -> Finding:
    about, oids = subject(functions[0]), [function["function_oid"] for function in functions]
    tables = sorted({table for oid in oids for table in opened[oid]})
    roles = dict.fromkeys(role for oid in oids for role in callers[oid])
    who = listed(["every role" if role == PUBLIC else f'"{role}"' for role in roles])
    owners = listed([quoted(name) for name in dict.fromkeys(function["owner_name"] for function in functions)])
    calling = list(dict.fromkeys(name for oid in oids for name in policies.get(oid, ())))
    by_policies = f"; the policies {listed(calling)} call it" if calling else ""
    return Finding(
        severity="info" if calling else "warning",
        subject=about,
        message=f"function {about.qualified} runs as {owners}, whom row security does not bind, names "
        f"{listed([table.qualified for table in tables])}, and {who} may call it{by_policies}",
        remedy=_KEPT if calling else _remedy(functions, callers, by_name),
        evidence=evidence(functions),
        value=float(len(tables)),
        unit="tables",
        relations=frozenset(table.name for table in tables),
    )


def _remedy(functions: Sequence[Row], callers: Mapping[str, Callers], by_name: ByName) -> str:
    """Return words: whether strangers are to call it (to log in, say) is not to be read from any catalog."""
    by_caller = [callers[function["function_oid"]] for function in functions]
    exposed = [role for role in dict.fromkeys(role for roles in by_caller for role in roles) if role != PUBLIC]
    through = dict.fromkeys(name for roles in by_caller for names in roles.values() for name in names)
    grants = by_name.execute(functions, set(exposed)) if PUBLIC in through else []
    statements = [*grants, revoke(functions, ["public" if name == PUBLIC else quoted(name) for name in sorted(through)])]
    return (
        "If strangers are meant to call it, to log in for example, leave it, and make sure that it answers about the caller "
        f"only. If not: {'; '.join(statements)}"
    )
