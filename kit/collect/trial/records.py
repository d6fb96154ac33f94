"""What a trial came to, as records and as evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from kit.collect.trial.functions import CalledFunction
from kit.collect.trial.settings import identifier
from kit.collect.trial.statement import Statement
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, provenance

Status = Literal["ok", "refused", "unknown", "not run"]

TRIAL_COLUMNS = (
    Column("asker_name", "string", data_class="identifier"),
    Column("role_name", "string", data_class="identifier"),
    Column("schema_name", "string", data_class="identifier"),
    Column("relation_name", "string", data_class="identifier"),
    Column("action", "string"),
    Column("statement", "string", data_class="identifier"),
    Column("outcome", "string"),
    Column("sqlstate", "string"),
    Column("message", "string", data_class="identifier"),
    Column("is_row_security_active", "boolean"),
    Column("visible_rows", "Int64", "rows"),
    Column("hidden_rows", "Int64", "rows"),
    Column("claim_settings", "list[string]", data_class="identifier"),
    Column("denied_functions", "list[string]", data_class="identifier"),
    Column("plan", "string", data_class="identifier"),
    Column("notes", "list[string]"),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried: a role's action on a relation (schema and name), and the statement that was given, if any."""

    role: str
    relation: tuple[str, str]
    action: str
    given: Statement | None = None

    @property
    def relation_sql(self) -> str:
        """The relation as SQL names it; every part quoted."""
        return ".".join(identifier(part) for part in self.relation)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server said: `ok`, or `refused` with its SQLSTATE and words.

    `unknown` where it ran out of time, met a lock or would have written; `not run` with the kit's own reason.
    """

    status: Status
    sqlstate: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class VisibleRows:
    """Rows counted as the role, and in `total` as somebody who sees all; each up to one row beyond `limit`.

    `is_all` says that row security hides nothing here. `estimated` is the planner's idea of the table.
    """

    counted: int | None = None
    total: int | None = None
    limit: int = 0
    is_all: bool = False
    estimated: int | None = None
    why_unknown: str | None = None

    @property
    def visible(self) -> int | None:
        """Return the rows that the role sees; at least so many where `is_cut`."""
        return None if self.counted is None else min(self.counted, self.limit)

    @property
    def is_cut(self) -> bool:
        """Return whether the role sees more rows than were counted."""
        return self.counted is not None and self.counted > self.limit

    @property
    def hidden(self) -> int | None:
        """Return the rows that the role does not see; at least so many where `is_hidden_cut`; None where unknown."""
        if self.is_all:
            return 0
        if self.counted is None or self.total is None or self.is_cut:
            return None
        return max(0, min(self.total, self.limit) - self.counted)

    @property
    def is_hidden_cut(self) -> bool:
        """Return whether more rows are hidden than were counted."""
        return self.hidden is not None and self.total is not None and self.total > self.limit


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial. `settings` are name, value to show, and origin; `claims` the settings that carried the token's claims.

    `sent` holds the statements in their order, values of claims and literals left out.
    """

    asker: str
    database: str
    server_version: int
    subject: Subject
    statement: str | None
    may_set_role: bool
    functions: tuple[CalledFunction, ...]
    denied: tuple[CalledFunction, ...]
    unread_functions: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    settings_left_out: tuple[str, ...]
    claims: tuple[str, ...]
    outcome: Outcome
    is_row_security_active: bool | None
    rows: VisibleRows
    plan: str | None
    sent: tuple[str, ...]
    notes: tuple[str, ...]
    at: datetime
    seconds: float

    def to_record(self) -> dict[str, Any]:
        """Return the trial as JSON takes it."""
        return {
            "asker": self.asker,
            "role": self.subject.role,
            "relation": list(self.subject.relation),
            "action": self.subject.action,
            "statement": self.statement,
            "may_set_role": self.may_set_role,
            "outcome": self.outcome.status,
            "sqlstate": self.outcome.sqlstate,
            "message": self.outcome.message,
            "row_security_active": self.is_row_security_active,
            "visible_rows": self.rows.visible,
            "visible_is_cut": self.rows.is_cut,
            "hidden_rows": self.rows.hidden,
            "hidden_is_cut": self.rows.is_hidden_cut,
            "hidden_unknown_because": self.rows.why_unknown,
            "estimated_rows": self.rows.estimated,
            "functions": [{"function": f.signature, "called_by": f.called_by, "execute": f.may_execute} for f in self.functions],
            "settings": [{"name": name, "value": value, "origin": origin} for name, value, origin in self.settings],
            "settings_left_out": list(self.settings_left_out),
            "claims": list(self.claims),
            "plan": self.plan,
            "sent": list(self.sent),
            "notes": list(self.notes),
        }


def trial_evidence(trial: Trial) -> Evidence:
    """Return the trial as evidence: one row, with what was sent as its text."""
    subject, outcome = trial.subject, trial.outcome
    row = (
        trial.asker,
        subject.role,
        *subject.relation,
        subject.action,
        trial.statement,
        outcome.status,
        outcome.sqlstate,
        outcome.message,
        trial.is_row_security_active,
        trial.rows.visible,
        trial.rows.hidden,
        list(trial.claims),
        [called.signature for called in trial.denied],
        trial.plan,
        list(trial.notes),
    )
    about = provenance("Trial as another role", "one row per trial", ";\n".join(trial.sent), trial.at, trial.seconds, 1)
    return Evidence(build_frame(TRIAL_COLUMNS, [row]), TRIAL_COLUMNS, about)
