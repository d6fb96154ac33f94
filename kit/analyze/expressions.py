"""What a boolean expression can come to, whatever the row: three-valued logic over a parsed tree.

What is not understood (columns, functions, comparisons of such) may be true, false or NULL, and the same at each place
where it stands. Every combination is tried, so `x OR NOT x OR x IS NULL` is known to be true.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Truth = bool | None
# Enough for five things not understood; an expression of more is taken for one that can come to anything.
_TRIALS = 400
# How a masked literal reads: two of them may have been the same text, or not.
MASKED_TEXT = "…"
_PLACES = ("location", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end")


@dataclass(frozen=True, slots=True)
class _Opaque:
    """A value that is not NULL and not known; `truth` is what it is taken for where it stands as a condition."""

    key: str
    truth: bool


class _Open(Exception):
    """Raised where the worth of something not understood has not been chosen yet."""

    def __init__(self, key: str, is_nullable: bool) -> None:
        self.key, self.is_nullable = key, is_nullable


def outcomes(tree: Mapping[str, Any], not_null: Collection[str] = ()) -> frozenset[Truth]:
    """Return what the expression can come to; `not_null` are the columns that are never NULL."""
    return frozenset(_worths(tree, frozenset(not_null)))


def is_certain(tree: Mapping[str, Any], not_null: Collection[str] = ()) -> bool:
    """Return whether the expression is true, whatever the row; most expressions fail the first trial."""
    return all(worth is True for worth in _worths(tree, frozenset(not_null)))


def _worths(tree: Mapping[str, Any], not_null: frozenset[str]) -> Iterator[Truth]:
    """Yield what the expression comes to, trial by trial."""
    waiting: list[dict[str, Any]] = [{}]
    keys: dict[int, str] = {}
    for _ in range(_TRIALS):
        if not waiting:
            return
        chosen = waiting.pop()
        try:
            yield _Trial(chosen, not_null, keys).truth(tree)
        except _Open as thing:
            values = (_Opaque(thing.key, True), *((None,) if thing.is_nullable else ()), _Opaque(thing.key, False))
            waiting += [{**chosen, thing.key: value} for value in values]
        except RecursionError:
            break
    yield from (True, False, None)


class _Trial:
    """One reading of the tree, with one choice for everything that is not understood."""

    def __init__(self, chosen: Mapping[str, Any], not_null: frozenset[str], keys: dict[int, str]) -> None:
        self._chosen, self._not_null, self._keys = chosen, not_null, keys

    def truth(self, node: Mapping[str, Any]) -> Truth:
        value = self.value(node)
        if isinstance(value, _Opaque):
            return value.truth
        # A number, as in (1)::boolean, is as true as PostgreSQL has it.
        return None if value is None else bool(value)

    def value(self, node: Mapping[str, Any]) -> Any:
        kind, inner = next(iter(node.items()), ("", None))
        read = getattr(self, f"_{kind.lower()}", None)
        return read(inner, node) if read else self._opaque(node, is_nullable=True)

    def _opaque(self, node: Mapping[str, Any], *, is_nullable: bool) -> Any:
        return self._choice(self._key(node), is_nullable=is_nullable)

    def _choice(self, key: str, *, is_nullable: bool) -> Any:
        if key not in self._chosen:
            raise _Open(key, is_nullable)
        return self._chosen[key]

    def _key(self, node: Mapping[str, Any]) -> str:
        # The nodes live as long as the tree, so that each has an id of its own.
        if id(node) not in self._keys:
            self._keys[id(node)] = _key(node)
        return self._keys[id(node)]

    def _a_const(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        if inner.get("isnull"):
            return None
        if "boolval" in inner:
            return bool(inner["boolval"].get("boolval", False))
        if "ival" in inner:
            return int(inner["ival"].get("ival", 0))
        return self._opaque(node, is_nullable=False)

    def _typecast(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        value = self.value(inner["arg"])
        if value is None or isinstance(value, bool) or (isinstance(value, int) and _is_wide(inner)):
            return value
        return self._opaque(node, is_nullable=False)

    def _columnref(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        names = [field.get("String", {}).get("sval") for field in inner["fields"]]
        return self._opaque(node, is_nullable=len(names) != 1 or names[0] not in self._not_null)

    def _sqlvaluefunction(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        return self._opaque(node, is_nullable=False)

    def _boolexpr(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Truth:
        if inner["boolop"] == "NOT_EXPR":
            value = self.truth(inner["args"][0])
            return None if value is None else not value
        return self._joined(inner["args"], decisive=inner["boolop"] == "OR_EXPR")

    def _joined(self, arguments: Sequence[Mapping[str, Any]], *, decisive: bool) -> Truth:
        """Return true for an OR with anything true, false for an AND with anything false."""
        # Constants first: they decide whatever the rest would be.
        worths = (self.truth(argument) for argument in sorted(arguments, key=lambda item: "A_Const" not in item))
        is_null = False
        for worth in worths:
            if worth is decisive:
                return decisive
            is_null = is_null or worth is None
        return None if is_null else not decisive

    def _nulltest(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        # IS NULL of a row asks for each of its columns.
        if inner.get("argisrow") or "RowExpr" in inner["arg"]:
            return self._opaque(node, is_nullable=False)
        return (self.value(inner["arg"]) is None) == (inner["nulltesttype"] == "IS_NULL")

    def _booleantest(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
        wanted = {"TRUE": True, "FALSE": False, "UNKNOWN": None}[inner["booltesttype"].split("_")[-1]]
        return (self.truth(inner["arg"]) is wanted) != ("_NOT_" in inner["booltesttype"])

    def _coalesceexpr(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        values = (self.value(argument) for argument in inner["args"])
        return next((value for value in values if value is not None), None)

    def _caseexpr(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        if "arg" in inner:
            return self._opaque(node, is_nullable=True)
        for when in inner["args"]:
            if self.truth(when["CaseWhen"]["expr"]):
                return self.value(when["CaseWhen"]["result"])
        return self.value(inner["defresult"]) if "defresult" in inner else None

    def _sublink(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        select = inner["subselect"]["SelectStmt"]
        is_plain = set(select) <= {"targetList", "limitOption", "op"} and select.get("op") == "SETOP_NONE"
        # A function in the list may return no row at all.
        if is_plain and inner["subLinkType"] == "EXISTS_SUBLINK" and "FuncCall" not in _key(select):
            return True
        if is_plain and inner["subLinkType"] == "EXPR_SUBLINK":
            return self.value(select["targetList"][0]["ResTarget"]["val"])
        return self._opaque(node, is_nullable=True)

    def _a_expr(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
        compare = COMPARISONS.get(operator_name(inner))
        if compare is None or "lexpr" not in inner:
            return self._opaque(node, is_nullable=True)
        match inner["kind"]:
            case "AEXPR_OP":
                return self._compared(inner["lexpr"], inner["rexpr"], compare, self._key(node))
            case "AEXPR_DISTINCT":
                return not self._same(inner, node)
            case "AEXPR_NOT_DISTINCT":
                return self._same(inner, node)
            case "AEXPR_OP_ANY" if "A_ArrayExpr" in inner["rexpr"]:
                return self._any(inner, compare)
        return self._opaque(node, is_nullable=True)

    def _compared(self, left: Any, right: Any, compare: Callable[[Any, Any], bool], key: str) -> Truth:
        values = self.value(left), self.value(right)
        if None in values:
            return None
        if self._key(left) == self._key(right):
            return compare(0, 0)
        if any(isinstance(value, _Opaque) for value in values):
            return bool(self._choice(key, is_nullable=False).truth)
        return compare(*values)

    def _same(self, inner: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
        left, right = self.value(inner["lexpr"]), self.value(inner["rexpr"])
        if left is None or right is None:
            return left is right
        return bool(self._compared(inner["lexpr"], inner["rexpr"], operator.eq, self._key(node)))

    def _any(self, inner: Mapping[str, Any], compare: Callable[[Any, Any], bool]) -> Truth:
        left, found = inner["lexpr"], []
        for element in inner["rexpr"]["A_ArrayExpr"].get("elements", []):
            key = f"{operator_name(inner)} any {self._key(left)} {self._key(element)}"
            found.append(self._compared(left, element, compare, key))
        return True if True in found else None if None in found else False


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WIDE_TYPES = ("int2", "int4", "int8", "numeric", "bool")


def operator_name(inner: Mapping[str, Any]) -> str:
    """Return which of the server's own operators it is; nothing for one of another schema."""
    names = [part["String"]["sval"] for part in inner["name"]]
    return str(names[-1]) if len(names) == 1 or names[0] == "pg_catalog" else ""


def _is_wide(cast: Mapping[str, Any]) -> bool:
    """Return whether the cast is to a type that keeps a whole number as it is."""
    return bool(cast["typeName"]["names"][-1]["String"]["sval"] in _WIDE_TYPES)


def _key(node: Any) -> str:
    """Return a text that is the same for the same expression, wherever it stands."""
    return json.dumps(_without_place(node), sort_keys=True)


def _without_place(node: Any) -> Any:
    if isinstance(node, Mapping):
        is_masked = node.get("sval", {}) == {"sval": MASKED_TEXT}
        return {key: _without_place(value) for key, value in node.items() if is_masked or key not in _PLACES}
    return [_without_place(item) for item in node] if isinstance(node, list) else node
