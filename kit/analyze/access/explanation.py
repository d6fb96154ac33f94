"""The records of an explanation: a question, the gates it passes in order, the verdict, the remedies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

GateName = Literal[
    "login",
    "connect",
    "name resolution",
    "schema usage",
    "object privilege",
    "column privilege",
    "view owner",
    "row security",
    "sequence",
    "function",
]
GateStatus = Literal["passed", "failed", "unknown", "not applicable"]
# What row security leaves of a relation: every row, those that meet a condition, or nothing.
Rows = Literal["all", "filtered", "none"]
ObjectKind = Literal["relation", "function", "schema", "type", "database"]

GATES: tuple[GateName, ...] = get_args(GateName)


@dataclass(frozen=True, slots=True)
class Question:
    """May `role` do `action` to the object, named as the application names it?

    `columns` are the columns of a statement (exact names); None where no statement is known: then one column suffices,
    a view is read whole, and () means any one column. `read_columns` are those that a change reads in a WHERE or RETURNING,
    for which it needs SELECT as well; None where it reads none, or where no statement is known.
    """

    role: str
    action: str
    name: str
    kind: ObjectKind = "relation"
    columns: tuple[str, ...] | None = None
    read_columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Remedy:
    """One statement that mends one gate; who may run it; what it opens up beyond what was asked for."""

    statement: str
    run_by: str
    opens: str


@dataclass(frozen=True, slots=True)
class Gate:
    """One link of the chain, and the grant, membership or setting that it stands on.

    `is_silent` marks a failure that raises no error: row security that leaves nothing to see. `missing_policy` is
    whom, on which relation (its OID) and for what a policy would have to let through.
    """

    name: GateName
    status: GateStatus
    because: str
    remedy: Remedy | None = None
    is_silent: bool = False
    missing_policy: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer: every gate in order. `allowed` is None where a gate could not be judged and none failed.

    `object_name` is the object's full name as SQL writes it, or None where there is none; `near` are the places and names
    that the application may have meant.
    """

    question: Question
    gates: tuple[Gate, ...]
    rows: Rows | None
    object_name: str | None = None
    near: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool | None:
        """Return whether the server would run it without an error."""
        stopping = [gate.status for gate in self.gates if not gate.is_silent]
        if "failed" in stopping:
            return False
        return None if "unknown" in stopping else True

    @property
    def first_failed(self) -> Gate | None:
        """Return the first gate that failed; a row security that shows nothing is one, though no error comes."""
        return next((gate for gate in self.gates if gate.status == "failed"), None)

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """Return the statements that together mend every failed gate, in order."""
        return tuple(dict.fromkeys(gate.remedy for gate in self.gates if gate.status == "failed" and gate.remedy))

    def to_record(self) -> dict[str, Any]:
        """Return the answer as the contract of `kit access --json` has it."""
        failed, remedies = self.first_failed, self.remedies
        is_mended = all(gate.remedy for gate in self.gates if gate.status == "failed")
        return {
            "role": self.question.role,
            "action": self.question.action,
            "object": self.object_name or self.question.name,
            "kind": self.question.kind,
            "allowed": self.allowed,
            # Nothing is left of a statement that is refused, unless row security is what refuses it.
            "rows": None if self.allowed is False and self.rows != "none" else self.rows,
            "gates": [{"gate": gate.name, "status": gate.status, "because": gate.because} for gate in self.gates],
            "first_failed": failed.name if failed else None,
            "remedy": ";\n".join(remedy.statement for remedy in remedies) if remedies and is_mended else None,
            "run_by": " / ".join(dict.fromkeys(remedy.run_by for remedy in remedies)) or None,
            "opens": [remedy.opens for remedy in remedies if remedy.opens],
            "near": list(self.near),
        }
