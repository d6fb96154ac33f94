"""What the planner makes of an expression before any row is read: a constant, or a condition that stays.

In the source: eval_const_expressions (clauses.c) and canonicalize_qual (prepqual.c). Arguments are taken in their order,
because what stands before a deciding constant is simplified first, and may fail or call a function that long ago.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kit.analyze.expressions import COMPARISONS, operator_name

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Constant:
    """What was folded: its value, None for NULL."""

    value: bool | int | None


# A condition that stays, and a constant that is not NULL and not known (texts are masked).
DEPENDS: Literal["depends"] = "depends"
LITERAL: Literal["literal"] = "literal"
Folded = Constant | Literal["depends", "literal"]
_NULL = Constant(None)
_LASTING = ("ColumnRef", "SQLValueFunction")
# Of the server's functions that take no column: these are stable, so that the planner leaves them alone.
_STABLE = frozenset({"current_setting", "now", "statement_timestamp", "transaction_timestamp"})
_WHOLE_NUMBERS = ("int4", "int8", "numeric")


class Unclear(Exception):
    """Raised where it is not known what the planner comes to, or whether it fails."""


def truth_of(tree: Tree) -> bool | None:
    """Return what a condition is folded to, NULL being no better than false; None where it is not, or not known to be."""
    try:
        folded = _top_and(tree) if tree.get("BoolExpr", {}).get("boolop") == "AND_EXPR" else fold(tree)
    except (Unclear, RecursionError):
        return None
    return bool(folded.value) if isinstance(folded, Constant) else None


def fold(node: Tree) -> Folded:
    """Return what the planner makes of a node of the tree."""
    [(kind, inner)] = node.items()
    if kind in _LASTING:
        return DEPENDS
    if kind not in _READERS:
        raise Unclear
    return _READERS[kind](inner)


def _top_and(tree: Tree) -> Folded:
    """Return what an AND comes to where only rows for which it is true pass: a NULL in it is as good as false."""
    found = _until(tree["BoolExpr"]["args"], decisive=False)
    return Constant(False) if _NULL in found else _joined(found, decisive=False)


def _constant(inner: Tree) -> Folded:
    if inner.get("isnull"):
        return _NULL
    if "boolval" in inner:
        return Constant(bool(inner["boolval"].get("boolval", False)))
    return Constant(int(inner["ival"].get("ival", 0))) if "ival" in inner else LITERAL


def _cast(inner: Tree) -> Folded:
    names = [part["String"]["sval"] for part in inner["typeName"]["names"]]
    value = fold(inner["arg"])
    if value == DEPENDS:
        return DEPENDS
    # Under an empty search_path a type without a schema is the server's own, and no domain that checks.
    if len(names) > 1 and names[0] != "pg_catalog":
        raise Unclear
    is_list = bool(inner["typeName"].get("arrayBounds"))
    if value == _NULL or (value == LITERAL and "A_Const" in inner["arg"]):
        return value
    if is_list or not isinstance(value, Constant):
        raise Unclear
    if names[-1] == "bool":
        return Constant(bool(value.value))
    if names[-1] in _WHOLE_NUMBERS and not isinstance(value.value, bool):
        return value
    raise Unclear


def _bool(inner: Tree) -> Folded:
    if inner["boolop"] == "NOT_EXPR":
        value = fold(inner["args"][0])
        return Constant(None if value.value is None else not value.value) if isinstance(value, Constant) else _left(value)
    decisive = inner["boolop"] == "OR_EXPR"
    return _joined(_until(inner["args"], decisive=decisive), decisive=decisive)


def _until(arguments: Iterable[Tree], *, decisive: bool) -> list[Folded]:
    """Return the arguments up to the first that decides: the planner does not look at those behind it."""
    found: list[Folded] = []
    for argument in arguments:
        found.append(fold(argument))
        if found[-1] == Constant(decisive):
            break
    return found


def _joined(found: list[Folded], *, decisive: bool) -> Folded:
    if Constant(decisive) in found:
        return Constant(decisive)
    if all(isinstance(value, Constant) for value in found):
        return _NULL if _NULL in found else Constant(not decisive)
    return _left(*found)


def _left(*found: Folded) -> Folded:
    """Return DEPENDS for what stays; a constant that is not known decides something, but not what."""
    if LITERAL in found:
        raise Unclear
    return DEPENDS


def _null_test(inner: Tree) -> Folded:
    if inner.get("argisrow") or "RowExpr" in inner["arg"]:
        raise Unclear
    value = fold(inner["arg"])
    return value if value == DEPENDS else Constant((value == _NULL) == (inner["nulltesttype"] == "IS_NULL"))


def _boolean_test(inner: Tree) -> Folded:
    value = fold(inner["arg"])
    if not isinstance(value, Constant):
        return _left(value)
    wanted = {"TRUE": True, "FALSE": False, "UNKNOWN": None}[inner["booltesttype"].split("_")[-1]]
    return Constant((value.value is wanted) != ("_NOT_" in inner["booltesttype"]))


def _coalesce(inner: Tree) -> Folded:
    depends = False
    for argument in inner["args"]:
        value = fold(argument)
        if value not in (_NULL, DEPENDS):
            return DEPENDS if depends else value
        depends = depends or value == DEPENDS
    return DEPENDS if depends else _NULL


def _case(inner: Tree) -> Folded:
    if "arg" in inner:
        raise Unclear
    depends = False
    for when in inner["args"]:
        condition = fold(when["CaseWhen"]["expr"])
        if condition == LITERAL:
            raise Unclear
        if condition == DEPENDS or condition == Constant(True):
            result = fold(when["CaseWhen"]["result"])
            if condition != DEPENDS:
                return DEPENDS if depends else result
            depends = True
    result = fold(inner["defresult"]) if "defresult" in inner else _NULL
    return DEPENDS if depends else result


def _sub_select(inner: Tree) -> Folded:
    # Planned by itself, and later: no constant even where it reads nothing.
    if "testexpr" in inner:
        fold(inner["testexpr"])
    return DEPENDS


def _call(inner: Tree) -> Folded:
    names = [part["String"]["sval"] for part in inner["funcname"]]
    arguments = [fold(argument) for argument in inner.get("args", ())]
    is_stable = len(names) == 1 or names[0] == "pg_catalog"
    if _NULL not in arguments and (DEPENDS in arguments or (is_stable and names[-1] in _STABLE)):
        return DEPENDS
    raise Unclear


def _array(inner: Tree) -> Folded:
    return DEPENDS if DEPENDS in [fold(element) for element in inner.get("elements", ())] else LITERAL


def _operation(inner: Tree) -> Folded:
    compare = COMPARISONS.get(operator_name(inner))
    kind = inner["kind"]
    if compare and kind == "AEXPR_OP_ANY" and "A_ArrayExpr" in inner["rexpr"]:
        return _any(inner, compare)
    sides = [fold(inner[side]) for side in ("lexpr", "rexpr") if side in inner]
    if compare and len(sides) == 2 and kind == "AEXPR_OP":
        return _compared(sides[0], sides[1], compare)
    if compare and kind in ("AEXPR_DISTINCT", "AEXPR_NOT_DISTINCT"):
        return _distinct(sides[0], sides[1], is_wanted=kind == "AEXPR_DISTINCT")
    # Whether the function behind another operator is called for NULL is not known.
    if DEPENDS in sides and _NULL not in sides:
        return DEPENDS
    raise Unclear


def _compared(left: Folded, right: Folded, compare: Callable[[Any, Any], bool]) -> Folded:
    # The server's comparisons are strict: NULL on one side is enough.
    if _NULL in (left, right):
        return _NULL
    if DEPENDS in (left, right):
        return DEPENDS
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(compare(left.value, right.value))
    raise Unclear


def _distinct(left: Folded, right: Folded, *, is_wanted: bool) -> Folded:
    if DEPENDS in (left, right):
        return DEPENDS
    if _NULL in (left, right):
        return Constant((left != right) == is_wanted)
    same = _compared(left, right, operator.eq)
    return Constant(isinstance(same, Constant) and (not same.value) == is_wanted)


def _any(inner: Tree, compare: Callable[[Any, Any], bool]) -> Folded:
    left = fold(inner["lexpr"])
    found = [fold(element) for element in inner["rexpr"]["A_ArrayExpr"].get("elements", ())]
    if DEPENDS in (left, *found):
        return DEPENDS
    if not found:
        raise Unclear
    return _joined([_compared(left, element, compare) for element in found], decisive=True)


_READERS: Mapping[str, Callable[[Tree], Folded]] = {
    "A_Const": _constant,
    "TypeCast": _cast,
    "BoolExpr": _bool,
    "NullTest": _null_test,
    "BooleanTest": _boolean_test,
    "CoalesceExpr": _coalesce,
    "CaseExpr": _case,
    "SubLink": _sub_select,
    "FuncCall": _call,
    "A_ArrayExpr": _array,
    "A_Expr": _operation,
}
