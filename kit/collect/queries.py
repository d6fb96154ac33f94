"""Fact queries: `.sql` files with a TOML header, and the choice among their variants.

`sql/pg/<name>.sql` holds from the version its header says (`since`); `sql/pg/<name>-<n>.sql` are variants
for a later server, or for a later version of the extension that the header names. All variants of a name
declare the same columns. Probes (`sql/probes/`) are fact queries with psql variables for identifiers; those in
`sql/elsewhere/` are asked in the other databases of the instance.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kit.errors import KitError
from kit.evidence.columns import Column

MARKER = "incident-kit"
SQL_FOLDER = Path(__file__).parent / "sql"
# The order of collecting: what changes fastest first.
GROUPS = ("activity", "locks", "server", "access", "storage", "statements", "changes")


@dataclass(frozen=True, slots=True)
class FactQuery:
    """One statement that collects facts. `since` is a server's major version, or an extension's version."""

    name: str
    title: str
    grain: str
    group: str
    since: tuple[int, ...]
    extension: str | None
    role: str | None
    cost: str
    columns: tuple[Column, ...]
    sql: str
    path: Path

    def text(self, identifiers: Mapping[str, str]) -> str:
        """Return the SQL to send: psql's `:"name"` replaced by quoted identifiers, and the kit's marker.

        The marker stands behind the first word: PostgreSQL 18 keeps no comment at the head of a statement.
        """
        verb, rest = self.sql.split(maxsplit=1)
        body = _VARIABLE.sub(lambda match: _identifier(identifiers[match[1]]), rest)
        return f"{verb} /* {MARKER} {self.name} */ {body}"


_VARIABLE = re.compile(r':"([a-z_]+)"')
_KEYS = {"title", "grain", "group", "since", "extension", "role", "cost", "columns"}


@cache
def fact_queries() -> Mapping[str, tuple[FactQuery, ...]]:
    """Return the PostgreSQL fact queries by name, variants from the newest to the oldest."""
    return _variants(SQL_FOLDER / "pg")


@cache
def probes() -> Mapping[str, tuple[FactQuery, ...]]:
    """Return the probes by name; they take identifiers as psql variables."""
    return _variants(SQL_FOLDER / "probes")


@cache
def elsewhere_queries() -> Mapping[str, tuple[FactQuery, ...]]:
    """Return the queries by name that are asked in every other database."""
    return _variants(SQL_FOLDER / "elsewhere")


def choose(variants: tuple[FactQuery, ...], server: int, extensions: Mapping[str, str]) -> FactQuery | None:
    """Return the newest variant that this server (major version) and its extensions can answer, or None."""
    for query in variants:
        have = _version(extensions.get(query.extension, "")) if query.extension else (server,)
        if have and query.since <= have:
            return query
    return None


def parse(path: Path) -> FactQuery:
    """Return the fact query in a file; KitError if its header is not as it must be."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = _leading(lines)
    body = "\n".join(lines[len(head) :]).strip().rstrip(";")
    try:
        header = tomllib.loads("\n".join(line.removeprefix("--").removeprefix(" ") for line in head))
    except tomllib.TOMLDecodeError as error:
        raise KitError(f"The header of {path.name} is not TOML: {error}.") from error
    unknown = set(header) - _KEYS
    if unknown or not {"title", "grain", "cost", "columns"} <= set(header):
        raise KitError(f"The header of {path.name} has wrong or missing keys: {sorted(unknown)}.")
    return FactQuery(
        name=re.sub(r"-[0-9.]+$", "", path.stem),
        title=header["title"],
        grain=header["grain"],
        group=header.get("group", ""),
        since=_version(str(header.get("since", 13))),
        extension=header.get("extension"),
        role=header.get("role"),
        cost=header["cost"],
        columns=_columns(header["columns"]),
        sql=body,
        path=path,
    )


def _leading(lines: list[str]) -> list[str]:
    count = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return lines[:count]


def _columns(declared: Mapping[str, Any]) -> tuple[Column, ...]:
    return tuple(
        Column(name, spec["dtype"], spec.get("unit"), spec.get("class", "metadata"), spec.get("mask"))
        for name, spec in declared.items()
    )


def _variants(folder: Path) -> Mapping[str, tuple[FactQuery, ...]]:
    found: dict[str, list[FactQuery]] = {}
    for path in sorted(folder.glob("*.sql")):
        query = parse(path)
        found.setdefault(query.name, []).append(query)
    return {name: tuple(sorted(items, key=lambda q: q.since, reverse=True)) for name, items in found.items()}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
