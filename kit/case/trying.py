"""A trial for the command line and the notebooks: claims from a file, one database of a target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from kit.analyze.findings import quoted
from kit.collect.trial import Trial, try_access
from kit.errors import ParameterError, TargetError
from kit.target import DatabaseSource, Target

CLAIMS_BYTES = 64_000
MOST_CLAIMS = 500
_HINT = 'Write one JSON object, such as {"sub": "…", "role": "authenticated"}; not the signed token itself.'


def read_claims(path: Path) -> dict[str, Any]:
    """Return the claims of a token from a JSON file; ParameterError where it holds no object, or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(CLAIMS_BYTES + 1)
    except OSError as error:
        raise ParameterError(f"The claims {path} cannot be read: {error.strerror}.", _HINT) from None
    if len(content) > CLAIMS_BYTES:
        raise ParameterError(f"The claims {path} are larger than {CLAIMS_BYTES:,} bytes.", _HINT)
    try:
        claims = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
        # Half a pair of surrogates is JSON, and no text that a server takes.
        json.dumps(claims, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        # The parser's words name a place; the text itself may be a token, and is not repeated.
        place = f": line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ParameterError(f"The claims {path} are not JSON{place}.", _HINT) from None
    if not isinstance(claims, dict):
        raise ParameterError(f"The claims {path} are not a JSON object.", _HINT)
    if len(claims) > MOST_CLAIMS:
        raise ParameterError(f"The claims {path} are more than {MOST_CLAIMS}.", _HINT)
    return claims


def tried(
    target: Target,
    role: str,
    relation: tuple[str, str],
    action: str,
    claims: Mapping[str, Any] | None = None,
    statement: str | None = None,
    source: str | None = None,
) -> Trial:
    """Return the trial on a target's first database, or on the source of that name; TargetError where there is none."""
    return try_access(_database(target, source), role, relation, action, claims, statement)


def decided(allowed: bool | None, trial_record: Mapping[str, Any]) -> bool | None:
    """Return the verdict after a trial (its `to_record()`): False where the server refused, None where it found nothing out."""
    return {"ok": allowed, "refused": False, "unknown": None, "not run": allowed}[trial_record["outcome"]]


def contradiction(allowed: bool | None, trial_record: Mapping[str, Any]) -> str | None:
    """Return one sentence where the server's own answer differs from the explained one, else None.

    That EXPLAIN passes a write proves nothing: sequences, triggers and constraints come only with the doing.
    """
    role, action = quoted(trial_record["role"]), trial_record["action"]
    about = f"{action} on {'.'.join(map(quoted, trial_record['relation']))}"
    if allowed is True and trial_record["outcome"] == "refused":
        state = f" ({trial_record['sqlstate']})" if trial_record["sqlstate"] else ""
        return f"The catalogs let {role} do {about}, but the server refused it when it was tried{state}: believe the server."
    if allowed is False and trial_record["outcome"] == "ok" and trial_record["visible_rows"] is not None:
        way = "after SET ROLE, which asks for neither login nor CONNECT"
        return f"The catalogs deny {role} {about}, but the server did it {way}: look at these two gates first."
    return None


def _database(target: Target, name: str | None) -> DatabaseSource:
    if not target.databases:
        raise TargetError(f"{target.name} is no live database.", "A trial needs a server; name a target that is one.")
    for database in target.databases:
        if name in (None, database.name):
            return database
    known = ", ".join(database.name for database in target.databases)
    raise TargetError(f"{target.name} has no source {name!r}.", f"It has: {known}.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
