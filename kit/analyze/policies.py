"""Reading the expressions of row security policies: what they can come to, and what they call once per row.

Expressions are what pg_get_expr says under an empty search_path: every function outside pg_catalog is qualified. Their
texts are masked: a string literal reads '…', and what hangs on one is not known.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kit.analyze.expressions import MASKED_TEXT, is_certain, outcomes
from kit.analyze.folding import truth_of

_SELECT = "select "
# Most constants are these, and reading them needs no parser.
_PLAIN = {"true": True, "false": False, "NULL::boolean": False}
# What makes the worth of an expression differ from row to row, session to session or time to time.
_VARYING = ("ColumnRef", "FuncCall", "SQLValueFunction", "RangeVar", "RangeFunction", "ParamRef")

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A function that an expression calls for every row: its name, and where the call stands in the text."""

    schema: str | None
    name: str
    start: int
    end: int


def is_always_true(expression: str, not_null: Collection[str] = ()) -> bool | None:
    """Return whether every row meets the expression; None where it is constant and its value is masked, or unreadable.

    `not_null` are the columns of the table that are never NULL.

    >>> is_always_true("((1 = 1) OR (owner = CURRENT_USER))"), is_always_true("(owner = owner)", {"owner"})
    (True, True)
    >>> is_always_true("(owner = CURRENT_USER)"), is_always_true("('…'::text = '…'::text)")
    (False, None)
    """
    tree = _tree(expression)
    if tree is None:
        return None
    if is_certain(tree, not_null):
        return True
    is_constant = next(_nodes(tree, _VARYING), None) is None
    return None if is_constant and len(outcomes(tree)) > 1 else False


@lru_cache(maxsize=65_536)
def truth(expression: str) -> bool | None:
    """Return what the planner folds the condition to: true for every row, or false (NULL too) for every row; else None.

    Never wrong, but None also where a masked text decides. What is folded is not evaluated any more: its functions are
    not called, its sub-selects not run.

    >>> truth("(1 = 1)"), truth("NULL::boolean"), truth("((owner = CURRENT_USER) OR true)")
    (True, False, True)
    >>> truth("(owner = owner)"), truth("( SELECT true AS bool)"), truth("('…'::text = '…'::text)")
    (None, None, None)
    """
    if expression in _PLAIN:
        return _PLAIN[expression]
    tree = _tree(expression)
    return None if tree is None else truth_of(tree)


@lru_cache(maxsize=4096)
def calls_per_row(expression: str, immutable: frozenset[tuple[str, str]] = frozenset()) -> tuple[Call, ...] | None:
    """Return the calls that need no column of the row, and are made anew for each row all the same; None if unreadable.

    These are `current_setting` and every function outside pg_catalog, unless `immutable` names it by schema and name; one
    inside a sub-select that reads nothing, `(select auth.uid())`, is called once.

    >>> [call.name for call in calls_per_row("((owner = auth.uid()) OR (team = ( SELECT auth.team() AS team)))")]
    ['uid']
    """
    tree = _tree(expression)
    return None if tree is None else tuple(_placed(node, expression) for node in _bare_calls(tree, immutable))


def wrapped(expression: str, calls: Collection[Call]) -> str | None:
    """Return the expression with these calls in sub-selects of their own; None where a masked text is in the way.

    >>> wrapped("(owner = auth.uid())", calls_per_row("(owner = auth.uid())"))
    '(owner = (select auth.uid()))'
    """
    if MASKED_TEXT in expression:
        return None
    for call in sorted(calls, key=lambda call: call.start, reverse=True):
        text = expression[call.start : call.end]
        expression = f"{expression[: call.start]}(select {text}){expression[call.end :]}"
    return expression


@lru_cache(maxsize=4096)
def _tree(expression: str) -> Tree | None:
    from pglast import parser  # the parser is heavy, and most databases have no policy

    try:
        statement = json.loads(parser.parse_sql_json(_SELECT + expression))["stmts"][0]["stmt"]["SelectStmt"]
        [target] = statement["targetList"]
        tree: Tree = target["ResTarget"]["val"]
    except (parser.ParseError, RecursionError, ValueError, KeyError):
        return None
    return tree


def _bare_calls(node: Any, immutable: frozenset[tuple[str, str]]) -> list[Tree]:
    if isinstance(node, list):
        return [call for item in node for call in _bare_calls(item, immutable)]
    # A function in FROM is called once for each time that its query runs.
    if not isinstance(node, Mapping) or "RangeFunction" in node or _is_called_once(node):
        return []
    call = node.get("FuncCall")
    if call is not None and _is_dear(call, immutable) and next(_nodes(call, ("ColumnRef",)), None) is None:
        return [call]
    return _bare_calls(list(node.values()), immutable)


def _is_called_once(node: Tree) -> bool:
    """Return whether the node is a sub-select that reads no relation and no column of the row."""
    select = node.get("SubLink", {}).get("subselect", {}).get("SelectStmt")
    return select is not None and next(_nodes(select, ("RangeVar", "ColumnRef")), None) is None


def _is_dear(call: Tree, immutable: frozenset[tuple[str, str]]) -> bool:
    schema, name = _function(call)
    if schema in (None, "pg_catalog"):
        return name == "current_setting"
    return (str(schema), name) not in immutable


def _function(call: Tree) -> tuple[str | None, str]:
    names = [part["String"]["sval"] for part in call["funcname"]]
    return (names[-2] if len(names) > 1 else None), names[-1]


def _placed(call: Tree, expression: str) -> Call:
    """Return where the call stands: from its name to the parenthesis that closes its arguments."""
    from pglast import parser

    text = _SELECT + expression
    # The parser counts bytes, the scanner characters.
    start = len(text.encode()[: call.get("location", 0)].decode())
    depth, end = 0, start
    for token in parser.scan(text):
        if token.start >= start and token.name in ("ASCII_40", "ASCII_41"):
            depth += 1 if token.name == "ASCII_40" else -1
            end = token.end + 1
            if depth == 0:
                break
    return Call(*_function(call), start - len(_SELECT), end - len(_SELECT))


def _nodes(tree: Any, kinds: Collection[str]) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if key in kinds:
                yield value
            yield from _nodes(value, kinds)
    elif isinstance(tree, list):
        for item in tree:
            yield from _nodes(item, kinds)
