"""The statement of a trial: one statement that reads or changes rows, and the names that stand in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pglast import ast, parser

from kit.errors import ParameterError

STATEMENT_BYTES = 100_000
ACTIONS = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE")
_VERBS = {
    ast.SelectStmt: "SELECT",
    ast.InsertStmt: "INSERT",
    ast.UpdateStmt: "UPDATE",
    ast.DeleteStmt: "DELETE",
    ast.MergeStmt: "MERGE",
}
_WORDS = "Give one SELECT, INSERT, UPDATE, DELETE or MERGE; it is only explained, never run."


@dataclass(frozen=True, slots=True)
class Mentions:
    """What is named in a text: functions with their number of arguments, relations, operators, and `x.name` notations.

    `leaves_role` where a command of it may set or reset the role.
    """

    functions: frozenset[tuple[str | None, str, int]] = frozenset()
    relations: frozenset[tuple[str | None, str]] = frozenset()
    operators: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    leaves_role: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its verb, whether it has `$1` parameters, and what it names."""

    text: str
    verb: str
    has_parameters: bool
    mentions: Mentions


def read_statement(text: str) -> Statement:
    """Return the one statement of a text; ParameterError where there is none, more than one, or one of another kind."""
    if "\0" in text or len(text.encode("utf-8", "replace")) > STATEMENT_BYTES:
        raise ParameterError(f"The statement is longer than {STATEMENT_BYTES:,} bytes, or holds a NUL byte.", _WORDS)
    try:
        parsed = parser.parse_sql(text)
    except (parser.ParseError, RecursionError) as error:
        # The parser's own words repeat what stands there, which may be a value.
        place = f" at character {error.args[1]}" if len(error.args) > 1 else ""
        raise ParameterError(f"The statement cannot be read{place}.", _WORDS) from None
    if len(parsed) != 1:
        raise ParameterError(f"There are {len(parsed)} statements where one is expected.", _WORDS)
    verb = _VERBS.get(type(parsed[0].stmt))
    if verb is None or getattr(parsed[0].stmt, "intoClause", None) is not None:
        raise ParameterError("A statement of this kind is not tried.", _WORDS)
    nodes = list(_nodes(parsed[0].stmt))
    has_parameters = any(isinstance(node, ast.ParamRef) for node in nodes)
    return Statement(text.strip().rstrip(";").rstrip(), verb, has_parameters, _mentions(nodes))


def mentions_of(text: str) -> Mentions | None:
    """Return what any SQL text names, such as a function's body; None where it cannot be read."""
    try:
        return _mentions(_nodes(parser.parse_sql(text)))
    except (parser.ParseError, RecursionError):
        return None


def merged(parts: Iterable[Mentions]) -> Mentions:
    """Return what all of them name."""
    items = list(parts)
    return Mentions(
        frozenset().union(*(item.functions for item in items)),
        frozenset().union(*(item.relations for item in items)),
        frozenset().union(*(item.operators for item in items)),
        frozenset().union(*(item.attributes for item in items)),
        any(item.leaves_role for item in items),
    )


def _mentions(nodes: Iterable[Any]) -> Mentions:
    items = list(nodes)
    return Mentions(
        frozenset(_function(node) for node in items if isinstance(node, ast.FuncCall)),
        frozenset((node.schemaname, node.relname or "") for node in items if isinstance(node, ast.RangeVar)),
        frozenset(node.name[-1].sval for node in items if isinstance(node, ast.A_Expr) and node.name),
        frozenset(_attribute(node) for node in items if isinstance(node, ast.ColumnRef)) - {""},
        any(_leaves_role(node) for node in items),
    )


def _leaves_role(node: Any) -> bool:
    # What DO and EXECUTE run stands in no tree.
    is_setting = isinstance(node, ast.VariableSetStmt) and (node.name or "").lower() in ("role", "session_authorization")
    return is_setting or isinstance(node, ast.DoStmt | ast.ExecuteStmt)


def _function(call: ast.FuncCall) -> tuple[str | None, str, int]:
    *schema, name = (part.sval for part in call.funcname or ())
    ordered = call.agg_order if call.agg_within_group else None
    return schema[-1] if schema else None, name, len(call.args or ()) + len(ordered or ())


def _attribute(column: ast.ColumnRef) -> str:
    *qualified, last = column.fields or (None,)
    return getattr(last, "sval", "") if qualified else ""


def _nodes(root: Any) -> Iterator[Any]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple | list):
            waiting.extend(node)
        elif isinstance(node, ast.Node):
            yield node
            waiting.extend(getattr(node, name) for name in node)
