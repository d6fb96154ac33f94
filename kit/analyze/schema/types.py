"""One spelling for every type: that of the server's format_type, whatever a file or a dump calls it.

In the source: format_type_extended (format_type.c), SystemTypeName and the grammar's Typename.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pglast import ast, parser

from kit.analyze.findings import quoted

# "char" is another type than char, and quotes tell them apart.
_SPELLED = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "varchar": "character varying",
    "bpchar": "character",
    "varbit": "bit varying",
    "decimal": "numeric",
    "char": '"char"',
}
_TIMES = {"time": " without time zone", "timestamp": " without time zone", "timetz": " with time zone"}
_TIMES |= {"timestamptz": " with time zone"}
_SERIALS = {
    "serial": "integer",
    "serial4": "integer",
    "bigserial": "bigint",
    "serial8": "bigint",
    "smallserial": "smallint",
    "serial2": "smallint",
}
# The bits of datetime.h that an interval's first modifier is made of.
_FIELDS = {4: "year", 2: "month", 8: "day", 1024: "hour", 2048: "minute", 4096: "second"}
_WHOLE_INTERVAL = 0x7FFF


@dataclass(frozen=True, slots=True)
class Spelling:
    """A type as format_type writes it; `schema` is that of a type of one's own, None where it was not named.

    `is_serial` says that the column also takes its values from a sequence.
    """

    text: str
    schema: str | None = None
    is_serial: bool = False

    @property
    def written(self) -> str:
        """Return the type as SQL writes it."""
        return self.text if self.schema is None else f"{quoted(self.schema)}.{self.text}"

    def fits(self, actual: Spelling) -> bool:
        """Return whether it is the same type; a schema that is not named may be any."""
        return self.text == actual.text and (self.schema is None or self.schema == actual.schema)


@lru_cache(maxsize=10_000)
def spelling(text: str) -> Spelling | None:
    """Return the type that a text names, or None where it names none.

    >>> spelling("varchar(20)").text, spelling("timestamptz").text, spelling("numeric(10)").text
    ('character varying(20)', 'timestamp with time zone', 'numeric(10,0)')
    """
    try:
        [raw] = parser.parse_sql(f"create table t (c {text})")
        statement: Any = raw.stmt
        [column] = statement.tableElts
    except (parser.ParseError, ValueError):
        return None
    is_plain = isinstance(column, ast.ColumnDef) and not column.constraints and not column.collClause
    return spelled(column.typeName) if is_plain else None


def spelled(node: Any) -> Spelling:
    """Return the spelling of the parser's TypeName."""
    names = [name.sval for name in node.names or ()]
    array = "[]" if node.arrayBounds else ""
    schema = names[-2] if len(names) > 1 and names[-2] != "pg_catalog" else None
    if schema is not None:
        return Spelling(quoted(names[-1]) + _modified(node.typmods) + array, schema)
    name = names[-1]
    if name in _SERIALS:
        return Spelling(_SERIALS[name], is_serial=True)
    return Spelling(_built_in(name, node.typmods or ()) + array)


def _built_in(name: str, modifiers: Sequence[Any]) -> str:
    if name in _TIMES:
        return name.removesuffix("tz") + _modified(modifiers) + _TIMES[name]
    if name == "interval":
        return f"interval{_interval(modifiers)}"
    if name == "bpchar" and not modifiers:
        return "bpchar"
    if name in ("numeric", "decimal") and len(modifiers) == 1:
        return f"numeric({_number(modifiers[0])},0)"
    return _SPELLED.get(name, quoted(name)) + _modified(modifiers)


def _interval(modifiers: Sequence[Any]) -> str:
    numbers = [int(_number(modifier)) for modifier in modifiers]
    fields = [word for bit, word in _FIELDS.items() if numbers and numbers[0] != _WHOLE_INTERVAL and numbers[0] & bit]
    named = f" {fields[0]}" + (f" to {fields[-1]}" if len(fields) > 1 else "") if fields else ""
    return named + (f"({numbers[1]})" if len(numbers) > 1 else "")


def _modified(modifiers: Sequence[Any] | None) -> str:
    return f"({','.join(_number(modifier) for modifier in modifiers)})" if modifiers else ""


def _number(modifier: Any) -> str:
    """Return a modifier as it is written; an extension's may be words, whose letters do not matter to it."""
    fields = getattr(modifier, "fields", None)
    if fields:
        return str(fields[-1].sval).lower()
    value = getattr(modifier, "val", None)
    if isinstance(value, ast.Integer):
        return str(value.ival)
    return str(getattr(value, "sval", getattr(value, "fval", "?"))).lower()
