"""A team's own file of what its service needs of the database, kept beside its code.

    extensions = ["pgcrypto", "vector >= 0.5"]

    [tables.sessions]                                  # or [tables."app.sessions"]; names are exact
    may = ["SELECT", "INSERT", "UPDATE (status)"]      # what the service does with it; SELECT where left out
    columns.id = "uuid not null"                       # as CREATE TABLE would say it
    columns.platform_id = "text"
    columns.status = ""                                # of any type
    indexes = ["(platform_id)", "unique (id)"]

A name without a schema is looked for as the role would find it: along its search_path.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from pglast import parser

from kit.analyze.schema.columns import read_column, read_index
from kit.analyze.schema.expected import (
    READING,
    ExpectedColumn,
    ExpectedExtension,
    ExpectedIndex,
    ExpectedRelation,
    ExpectedSchema,
    Use,
)
from kit.errors import ParameterError

ACTIONS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_KEYS, _TABLE_KEYS = ("extensions", "tables"), ("may", "columns", "indexes")


def parse_file(text: str, origin: str) -> ExpectedSchema:
    """Return what a TOML file expects; ParameterError, one sentence naming the table, where something in it is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"{origin} is not valid TOML: {error}.", "Mend the file.") from error
    _known(document, _KEYS, origin)
    tables, extensions = document.get("tables", {}), _texts(document.get("extensions", []), "extensions", origin)
    if not isinstance(tables, dict) or not (tables or extensions):
        raise ParameterError(f"{origin} expects no table and no extension.", "Write [tables.NAME], and its columns below it.")
    relations = tuple(_relation(name, entry, f"{origin}, [tables.{name}]") for name, entry in tables.items())
    return ExpectedSchema(origin, relations, tuple(_extension(item, origin) for item in extensions))


def _relation(name: str, entry: Any, where: str) -> ExpectedRelation:
    if not isinstance(entry, dict):
        raise ParameterError(f"{where} is no table.", "Write [tables.NAME], and its columns below it.")
    if "columns" not in entry and not set(entry) & set(_TABLE_KEYS) and any(isinstance(item, dict) for item in entry.values()):
        # [tables.app.sessions] is, to TOML, a table inside a table.
        inner = next(iter(entry))
        raise ParameterError(f"{where} holds another table.", f'Put schema and name in quotes: [tables."{name}.{inner}"].')
    _known(entry, _TABLE_KEYS, where)
    schema, table = _parts(name, where)
    uses = tuple(use for item in _texts(entry.get("may", []), "may", where) for use in _uses(item, where)) or READING
    indexes = tuple(_index(item, where) for item in _texts(entry.get("indexes", []), "indexes", where))
    return ExpectedRelation(schema, table, None, _columns(entry.get("columns", {}), table, where), indexes, uses)


def _parts(name: str, where: str) -> tuple[str | None, str]:
    """Return schema and name; in double quotes a dot is a part of the name."""
    parts, is_quoted = [""], False
    for letter in name:
        is_quoted ^= letter == '"'
        if letter == "." and not is_quoted:
            parts.append("")
        elif letter != '"':
            parts[-1] += letter
    if is_quoted or len(parts) > 2 or not all(parts):
        raise ParameterError(f"{where} does not name a table.", 'Write the name, "schema.name", or \'schema."odd.name"\'.')
    return (parts[0] if len(parts) == 2 else None), parts[-1]


def _columns(given: Any, table: str, where: str) -> tuple[ExpectedColumn, ...]:
    if isinstance(given, list):
        given = dict.fromkeys(_texts(given, "columns", where), "")
    if not isinstance(given, dict):
        raise ParameterError(f"{where}: columns is neither a table nor a list.", 'Write columns.NAME = "type".')
    return tuple(_column(name, said, table, where) for name, said in given.items())


def _column(name: str, said: Any, table: str, where: str) -> ExpectedColumn:
    if said == "":
        return ExpectedColumn(name)
    hint = 'Write it as CREATE TABLE would, such as "varchar(20) not null", or "" for any type.'
    if not isinstance(said, str):
        raise ParameterError(f"{where}: column {name} is not a text in quotes.", hint)
    node = _only_element(f"create table t (c {said})")
    if node is None or type(node).__name__ != "ColumnDef" or node.typeName.setof:
        raise ParameterError(f"{where}: column {name} is {said!r}, which is no type.", hint)
    node.colname = name
    return read_column(node, table, is_exact=False).column


def _index(said: str, where: str) -> ExpectedIndex:
    words = said.strip()
    is_unique = words.lower().startswith("unique")
    words = words[len("unique") :].strip() if is_unique else words
    using = f"using {words}" if words and words[0] != "(" else words
    statement = _only(f"create {'unique' if is_unique else ''} index on t {using}")
    if statement is None or type(statement).__name__ != "IndexStmt":
        hint = 'Write "(column, column)", "unique (column)" or "gin (column)".'
        raise ParameterError(f"{where} has the index {said!r}, which cannot be read.", hint)
    return read_index(statement)


def _uses(said: str, where: str) -> list[Use]:
    statement = _only(f"grant {said} on t to r")
    privileges: Any = getattr(statement, "privileges", None) or ()
    if not privileges or type(statement).__name__ != "GrantStmt":
        raise ParameterError(f"{where}: may = {said!r} cannot be read.", 'Write "SELECT", or "UPDATE (status, note)".')
    names = [item.priv_name.upper() for item in privileges if item.priv_name]
    _known(names, ACTIONS, where, "action")
    return [_use(item) for item in privileges if item.priv_name]


def _use(privilege: Any) -> Use:
    return Use(privilege.priv_name.upper(), tuple(column.sval for column in privilege.cols) if privilege.cols else None)


def _extension(said: str, origin: str) -> ExpectedExtension:
    name, mark, since = (part.strip() for part in said.partition(">="))
    if not name or (mark and not since) or " " in name:
        raise ParameterError(f"{origin}: the extension {said!r} cannot be read.", 'Write "name" or "name >= 1.2".')
    return ExpectedExtension(name, since or None)


def _only(sql: str) -> Any:
    """Return the one statement that a text is, or None: a text that would be two is no type and no index."""
    try:
        [raw] = parser.parse_sql(sql)
    except (parser.ParseError, ValueError):
        return None
    return raw.stmt


def _only_element(sql: str) -> Any:
    elements: Any = getattr(_only(sql), "tableElts", None) or ()
    return elements[0] if len(elements) == 1 else None


def _texts(value: Any, key: str, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise ParameterError(f"{where}: {key} is not a list of texts.", f'Write it as {key} = ["…"].')
    return value


def _known(given: Collection[str] | Mapping[str, Any], known: Collection[str], where: str, word: str = "key") -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            raise ParameterError(f"{where} has the unknown {word} {name!r}.", hint)
