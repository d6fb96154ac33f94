"""A plan as text, without the literals of the statement and of the policies and views behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pglast import parser

_LITERALS = {"SCONST", "ICONST", "FCONST", "BCONST", "XCONST", "USCONST"}
_NAMES = ("Index Name", "CTE Name", "Function Name", "Subplan Name")
# Conditions and the like; what else a plan holds are numbers, flags and names.
_EXPRESSIONS = re.compile(r"Cond|Filter|Key|Expression|Output|Recheck|Remote SQL|Conflict|Group|Cache|Function Call|Sampling")
_PLAN_NUMBER = re.compile(r"(SubPlan|InitPlan|CTE)\s+\Z")


def plan_text(explained: Any) -> str:
    """Return the lines of an EXPLAIN (FORMAT JSON); every literal is a `?`."""
    return "\n".join(line for plan in explained for line in _lines(plan["Plan"], 0))


def masked_expression(text: str) -> str:
    """Return an expression as the server writes it, literals as `?`; as `?` alone where it cannot be read.

    >>> masked_expression("((owner)::text = 'O''Hara'::text) AND (id = 5)")
    '((owner)::text = ?::text) AND (id = ?)'
    """
    try:
        tokens = parser.scan(text)
    except parser.ParseError:
        return "?"
    pieces, end = [], 0
    for token in tokens:
        before = text[end : token.start]
        is_literal = token.name in _LITERALS and not _PLAN_NUMBER.search(text[: token.start])
        pieces += [before, "?" if is_literal else text[token.start : token.end + 1]]
        end = token.end + 1
    return " ".join("".join(pieces).split())


def _lines(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield f"{indent}{'-> ' if depth else ''}{_headline(node)}"
    for key, value in node.items():
        if _EXPRESSIONS.search(key) and isinstance(value, str | list):
            values = value if isinstance(value, list) else [value]
            yield f"{indent}   {key}: {', '.join(masked_expression(str(item)) for item in values)}"
    for child in node.get("Plans", ()):
        yield from _lines(child, depth + 1)


def _headline(node: Mapping[str, Any]) -> str:
    kind = node.get("Operation") if node["Node Type"] == "ModifyTable" else node["Node Type"]
    names = [f"{key.removesuffix(' Name').lower()} {_flat(node[key])}" for key in _NAMES if key in node]
    relation = [f"on {_flat(node['Relation Name'])}"] if "Relation Name" in node else []
    cost = f"(cost={node['Startup Cost']:.2f}..{node['Total Cost']:.2f} rows={node['Plan Rows']})"
    return " ".join([str(kind), *relation, *names, cost])


def _flat(name: Any) -> str:
    return " ".join(str(name).split())
