"""SQL that cuts, on the server, what the masks would cut here: a collector's answer lies in somebody's terminal first.

Where the server cannot tell surely (comments, backslashes, dollar quotes, expressions of policies) the text leaves as it
is, and the import masks it. Nothing here may change what the masks make of the text.
"""

from __future__ import annotations

from kit.collect.masking import CLOSED_CATEGORIES, CLOSED_SETTINGS, MASKED, OPEN_OPTIONS
from kit.collect.queries import MARKER, FactQuery
from kit.evidence.columns import Column

_COMMENTS = r"^(\s|--[^\n]*(\n|$)|/\*([^*]|\*+[^*/])*\*+/)+"
_DATA = r"^(select|insert|update|delete|merge|with|values|table)\M|^\("
_UNSURE = r"\\|--|/\*|\$[A-Za-z_]*\$"
_QUOTED = r"""("[^"]*")|(')[^']*(')"""
# Function forms throughout (textregexeq for ~): the settings are asked before search_path is set, and an operator may be
# anybody's there. Dollar quotes, because a backslash means something else where standard_conforming_strings is off.


def row(query: FactQuery) -> str:
    """Return the SQL of one row of `q` as a JSON array, masked as far as the server can."""
    return f"pg_catalog.json_build_array({', '.join(_value(column, query) for column in query.columns)})"


def _value(column: Column, query: FactQuery) -> str:
    name = f"q.{column.name}"
    if column.mask == "statement":
        return _statement(name)
    if column.mask == "option":
        has_category = any(other.name == "category" for other in query.columns)
        return _setting(name) if has_category else _option(name)
    return name


def _option(name: str) -> str:
    return f"case when {_is_open()} then {name} when {name} is not null then '{MASKED}' end"


def _setting(name: str) -> str:
    categories = "|".join(CLOSED_CATEGORIES)
    return (
        f"case when {_is_open()} or {name} is null or pg_catalog.texteq({name}, '') then {name}"
        f" when pg_catalog.textregexeq(q.category, $re$^({categories})$$re$)"
        f" or pg_catalog.textregexeq(q.setting_name, $re$(?i)\\.|{CLOSED_SETTINGS.pattern}$re$) then '{MASKED}' else {name} end"
    )


def _is_open() -> str:
    return f"pg_catalog.textregexeq(pg_catalog.lower(q.setting_name), $re$^({'|'.join(sorted(OPEN_OPTIONS))})$$re$)"


def _statement(name: str) -> str:
    bare = f"pg_catalog.regexp_replace({name}, $re${_COMMENTS}$re$, '')"
    return (
        f"case when pg_catalog.strpos({name}, '/* {MARKER} ') > 0 then {name}"
        f" when not pg_catalog.textregexeq({bare}, $re$(?i){_DATA}$re$)"
        f" then pg_catalog.substring({bare}, $re$^[A-Za-z]+(?:\\s+[A-Za-z_]+)?$re$)"
        f" when pg_catalog.textregexeq({name}, $re${_UNSURE}$re$) then {name}"
        f" else pg_catalog.regexp_replace({name}, $re${_QUOTED}$re$, $re$\\1\\2\\3$re$, 'g') end"
    )
