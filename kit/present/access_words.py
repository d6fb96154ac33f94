"""What an explanation of access says in one plain sentence, for each way that it can end."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kit.analyze.access.explanation import Explanation, Gate
from kit.analyze.access.resolution import name_parts
from kit.analyze.findings import quoted
from kit.errors import ParameterError
from kit.present.text import visible

# A parenthesis inside of double quotes is a letter of the name.
_WITHOUT_ARGUMENTS = re.compile(r'(?:"(?:[^"]|"")*"|[^("])*')
NAME_LIMIT = 80
NEAR_SHOWN = 3

_DEEDS = {
    "SELECT": "read {}",
    "INSERT": "insert into {}",
    "UPDATE": "update {}",
    "DELETE": "delete from {}",
    "TRUNCATE": "truncate {}",
    "REFERENCES": "make a foreign key to {}",
    "TRIGGER": "make a trigger on {}",
    "MAINTAIN": "vacuum or analyze {}",
    "USAGE": "use {}",
    "EXECUTE": "execute {}",
    "CREATE": "create anything in {}",
    "CONNECT": "connect to {}",
}
_TOUCHED = {"SELECT": "sees", "UPDATE": "changes", "DELETE": "deletes"}


def sentence(explanation: Explanation) -> str:
    """Return the answer in one sentence: `shop_api cannot read siwe_nonces: it may not enter schema auth.`"""
    answers = {True: _allowed, False: _denied, None: _unknown}
    return answers[explanation.allowed](explanation)


def one_line(text: object, limit: int = 0) -> str:
    """Return text on one line with nothing hidden in it, cut in the middle where it is longer than the limit.

    >>> one_line("a\\nb"), one_line("a" * 9, 5)
    ('a[LF]b', 'aaa…a')
    """
    line = visible(str(text).replace("\n", "[LF]").replace("\t", "[TAB]"))
    tail = limit // 3
    return line if not limit or len(line) <= limit else line[: limit - tail - 1] + "…" + line[len(line) - tail :]


def place_of(explanation: Explanation) -> tuple[str | None, str]:
    """Return the schema (None where there is none, or where it is not known) and the name of the object, unquoted."""
    written = explanation.object_name or explanation.question.name
    try:
        return name_parts(_WITHOUT_ARGUMENTS.match(written)[0])  # type: ignore[index]  # it matches the empty text too
    except ParameterError:
        return None, written


def _who(explanation: Explanation) -> str:
    return one_line(quoted(explanation.question.role), NAME_LIMIT)


def _deed(explanation: Explanation, name: str | None = None) -> str:
    question = explanation.question
    kind = "" if question.kind == "relation" else f"{question.kind} "
    return _DEEDS.get(question.action, f"{question.action} {{}}").format(kind + one_line(name or question.name, NAME_LIMIT))


def _allowed(explanation: Explanation) -> str:
    name = explanation.object_name or explanation.question.name
    return f"{_who(explanation)} can {_deed(explanation, name)}{_rows(explanation)}."


def _rows(explanation: Explanation) -> str:
    action = explanation.question.action
    touched = _TOUCHED.get(action)
    if explanation.rows == "none" and touched:
        return f" without an error, but {touched} no row: row security leaves it none"
    if explanation.rows == "filtered":
        return (
            f", but {touched} only the rows that row security leaves it"
            if touched
            else ", but only rows that row security lets in"
        )
    is_unknown = any(gate.name == "row security" and gate.status == "unknown" for gate in explanation.gates)
    return f"; which rows it {touched} is not known" if is_unknown and touched else ""


def _denied(explanation: Explanation) -> str:
    failed = [gate for gate in explanation.gates if gate.status == "failed" and not gate.is_silent]
    reasons = [_reason(explanation, gate) for gate in failed[:2]]
    more = (
        f", and {len(failed) - 1} more gates are shut" if len(failed) > 2 else f", and {reasons[1]}" if len(failed) == 2 else ""
    )
    return f"{_who(explanation)} cannot {_deed(explanation)}: {reasons[0]}{more}."


def _unknown(explanation: Explanation) -> str:
    gates = [gate.name for gate in explanation.gates if gate.status == "unknown"]
    noun = "gate" if len(gates) == 1 else "gates"
    return f"Whether {_who(explanation)} can {_deed(explanation)} is not known: the {noun} {_listed(gates)} could not be judged."


def _reason(explanation: Explanation, gate: Gate) -> str:
    action = explanation.question.action
    if gate.name == "name resolution":
        return _unresolved(explanation)
    if gate.name == "schema usage":
        if explanation.question.kind == "schema":
            return f"it has no {action} privilege on it"
        schema = place_of(explanation)[0]
        return f"it may not enter schema {one_line(quoted(schema), NAME_LIMIT)}" if schema else "it may not enter the schema"
    if gate.name == "object privilege" and gate.because.startswith(f"{action} is not for"):
        return one_line(gate.because)
    if gate.name == "row security" and explanation.rows == "none":
        return "row security lets none of its rows in"
    return _REASONS[gate.name].format(action=action)


_REASONS = {
    "login": "it cannot log in now",
    "connect": "it cannot connect to the database",
    "object privilege": "it has no {action} privilege on it",
    "column privilege": "it lacks the privilege on some of the columns",
    "view owner": "the view does not let it through to what lies below",
    "row security": "a policy of its row security fails",
    "sequence": "it may not use the sequence behind a default",
    "function": "something that runs with it, a function or a foreign key, is refused",
}


def _unresolved(explanation: Explanation) -> str:
    question = explanation.question
    if explanation.object_name and question.kind == "relation" and " has no column " in _because(explanation):
        return one_line(_because(explanation))
    if explanation.object_name:
        return f"its search_path does not lead to {one_line(explanation.object_name, NAME_LIMIT)}"
    is_plain = question.kind == "relation" and place_of(explanation)[0] is None
    missing = f"its search_path leads to no {question.kind} of that name" if is_plain else f"there is no such {question.kind}"
    return f"{missing}; perhaps {_near(explanation.near)} is meant" if explanation.near else missing


def _because(explanation: Explanation) -> str:
    return next((gate.because for gate in explanation.gates if gate.name == "name resolution"), "")


def _near(names: Sequence[str]) -> str:
    shown = [one_line(name, NAME_LIMIT) for name in names[:NEAR_SHOWN]]
    more = [f"one of {len(names) - NEAR_SHOWN} more"] if len(names) > NEAR_SHOWN else []
    return " or ".join([*shown, *more])


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
