"""Parameters of notebooks: read with ast from the cell tagged `parameters`, and checked before anything starts."""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import nbformat

from kit.errors import ParameterError

TAG = "parameters"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter of a notebook: name, type as annotated, default, comment."""

    name: str
    type: str
    default: Any
    comment: str


def declared(notebook: nbformat.NotebookNode, name: str) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name; ParameterError if its cell is not plain assignments."""
    cells = [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]
    if not cells:
        return {}
    try:
        found = [_parameter(node, cells[0].source) for node in ast.parse(cells[0].source).body]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        message = f"The parameters cell of {name} cannot be read: {error}."
        raise ParameterError(message, "Keep one plain assignment a line.") from error
    return {parameter.name: parameter for parameter in found if parameter is not None}


def chosen(known: Mapping[str, Mapping[str, Parameter]], given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the values to inject, by notebook; a value goes to every notebook that declares its name.

    `given` is text as the command line has it. Raises ParameterError for an unknown name, a wrong type,
    or a window that ends before it begins.
    """
    names = {name for parameters in known.values() for name in parameters}
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(names))}."
            raise ParameterError(f"No notebook has a parameter {name!r}.", hint)
    values = {
        notebook: {name: _converted(parameters[name], text) for name, text in given.items() if name in parameters}
        for notebook, parameters in known.items()
    }
    for items in values.values():
        window(items.get("since"), items.get("until"))
    return values


def window(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the window in UTC; ParameterError where a time cannot be read or the end lies before the beginning."""
    begin, end = moment(since, "since"), moment(until, "until")
    if begin and end and end < begin:
        raise ParameterError(
            f"The window ends ({end:%Y-%m-%dT%H:%M:%SZ}) before it begins ({begin:%Y-%m-%dT%H:%M:%SZ}).",
            "Swap --since and --until.",
        )
    return begin, end


def moment(text: str | None, name: str) -> datetime | None:
    """Return an ISO 8601 time in UTC (UTC where unmarked), or None for nothing."""
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParameterError(f"{name}={text!r} is no time.", "Write ISO 8601, such as 2026-11-20T03:00:00Z.") from None


def assignments(given: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a mapping; ParameterError where one has no `=`."""
    pairs = [text.partition("=") for text in given]
    for name, mark, value in pairs:
        if not mark or not name:
            raise ParameterError(f"{option} {name + mark + value!r} is not NAME=VALUE.", f"Write {option} NAME=VALUE.")
    return {name.strip(): value for name, _, value in pairs}


def _parameter(node: ast.stmt, source: str) -> Parameter | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return None
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        name, kind, default = node.target.id, ast.unparse(node.annotation), ast.literal_eval(node.value)
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name, default = node.targets[0].id, ast.literal_eval(node.value)
        kind = type(default).__name__
    else:
        raise ValueError(f"line {node.lineno} is no assignment")
    line = re.split(r"\r\n|\r|\n", source)[(node.end_lineno or node.lineno) - 1]  # the lines as ast counts them
    return Parameter(name, kind, default, line.encode()[node.end_col_offset :].decode().strip().lstrip("# ").strip())


def _converted(parameter: Parameter, text: str) -> Any:
    convert = _CONVERTERS.get(parameter.type.split("|")[0].strip())
    if convert is None:
        raise ParameterError(f"The parameter {parameter.name} is of type {parameter.type}.", "Set it in a working copy.")
    try:
        return convert(text)
    except ValueError:
        raise ParameterError(f"{parameter.name}={text!r} is not {parameter.type}.", parameter.comment) from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def number(text: str) -> float:
    """Return a finite number; ValueError for anything else."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": number,
    "bool": _boolean,
    "list[str]": lambda text: [item.strip() for item in text.split(",") if item.strip()],
}
