"""What a team says its roles may do, kept in git as a small TOML file, against what the database lets them.

    [[access]]
    role = "app"                    # the exact name; "public" is PUBLIC: what everybody has
    on = "app.*"                    # schema.name as SQL writes it; * and ? stand for anything in unquoted parts
    may = ["SELECT", "INSERT"]
    may_not = ["DELETE"]            # optional
    only = true                     # optional: nothing that no entry of the role allows

    [[access]]
    role = "app"
    on = ["app", '"Odd schema"']
    kind = "schema"                 # or relation (the default: all but sequences), sequence, function, database
    may = ["USAGE"]

A later entry goes before an earlier one: the rule first, its exceptions below it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.analyze.access.search_path import identifiers
from kit.errors import ParameterError

__all__ = ["ACTIONS", "PUBLIC", "Expectation", "Pattern", "parse_expected"]
PUBLIC = "public"
_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "relation": _TABLE,
    "sequence": ("SELECT", "UPDATE", "USAGE"),
    "function": ("EXECUTE",),
    "schema": ("USAGE", "CREATE"),
    "database": ("CONNECT", "CREATE", "TEMPORARY"),
}
_PARTS = {"relation": 2, "sequence": 2, "function": 2, "schema": 1, "database": 1}
_KEYS = ("role", "on", "kind", "may", "may_not", "only")
_PART = re.compile(r'\s*("(?:[^"]|"")+"|[^\s".,]+)\s*(\.|\Z)')


@dataclass(frozen=True, slots=True)
class Pattern:
    """Names as SQL writes them, where * and ? stand for anything in parts that are not quoted.

    `is_open` says that the first part, the schema, stands for more than one name.
    """

    text: str
    parts: tuple[re.Pattern[str], ...]
    is_open: bool

    def matches(self, *names: str) -> bool:
        """Return whether every part fits; a part without * and ? is one exact name."""
        return all(part.fullmatch(name) for part, name in zip(self.parts, names, strict=True))


@dataclass(frozen=True, slots=True)
class Expectation:
    """One entry of the file: what a role may and may not do with the objects that the patterns fit."""

    number: int
    role: str
    kind: str
    on: tuple[Pattern, ...]
    may: tuple[str, ...]
    may_not: tuple[str, ...]
    only: bool


def parse_expected(text: str, origin: str = "The file") -> tuple[Expectation, ...]:
    """Return the entries of the file; ParameterError, one sentence naming the entry or the line, where one is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"{origin} is not valid TOML: {error}.", "Mend the file.") from error
    entries = document.pop("access", None)
    if document or not isinstance(entries, list) or not entries:
        found = f"the unknown part {next(iter(document))!r}" if document else "no [[access]] entry"
        raise ParameterError(f"{origin} has {found}.", "Write each entry below a line [[access]].")
    return tuple(_entry(number, entry, f"{origin}, entry {number}") for number, entry in enumerate(entries, 1))


def _entry(number: int, entry: Any, where: str) -> Expectation:
    if not isinstance(entry, dict):
        raise ParameterError(f"{where} is no table.", "Write each entry below a line [[access]].")
    _known(entry, _KEYS, where, "key")
    kind = _text(entry.get("kind", "relation"), "kind", where)
    _known([kind], ACTIONS, where, "kind")
    may, may_not = (_actions(entry.get(key, []), key, kind, where) for key in ("may", "may_not"))
    only = entry.get("only", False)
    if not isinstance(only, bool):
        raise ParameterError(f"{where}: only is not true or false.", "Write it without quotes.")
    if both := set(may) & set(may_not):
        raise ParameterError(f"{where} both allows and forbids {min(both)}.", "Take it out of one of the lists.")
    if not (may or may_not or only):
        raise ParameterError(f"{where} expects nothing.", "Give it may, may_not or only = true.")
    on = entry.get("on", "")
    patterns = tuple(_pattern(item, kind, where) for item in (on if isinstance(on, list) and on else [on]))
    return Expectation(number, _text(entry.get("role", ""), "role", where), kind, patterns, may, may_not, only)


def _actions(value: Any, key: str, kind: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ParameterError(f"{where}: {key} is not a list of actions.", f'Write it as {key} = ["{ACTIONS[kind][0]}"].')
    actions = tuple(item.upper() for item in value)
    _known(actions, ACTIONS[kind], where, f"action for a {kind}")
    return actions


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ParameterError(f"{where}: {key} is not a text in quotes.", f'Write it as {key} = "…".')
    return value


def _known(names: Iterable[str], known: Sequence[str] | Mapping[str, Any], where: str, word: str) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            raise ParameterError(f"{where} has the unknown {word} {name!r}.", hint)


def _pattern(text: Any, kind: str, where: str) -> Pattern:
    parts = _split(_text(text, "on", where))
    if len(parts) != _PARTS[kind]:
        form = "schema.name" if _PARTS[kind] == 2 else "one name"
        raise ParameterError(f"{where}: on = {text!r} does not name a {kind}.", f'Write {form}; "Odd name" in double quotes.')
    is_open = not parts[0].startswith('"') and not {"*", "?"}.isdisjoint(parts[0])
    return Pattern(text, tuple(map(_expression, parts)), is_open)


def _split(text: str) -> list[str]:
    """Return the parts, quoted as they stand; none where the text is no name at all."""
    found, position = [], 0
    while match := _PART.match(text, position):
        found.append(match[1])
        position = match.end()
        if match[2] != ".":
            return found
    return []


def _expression(part: str) -> re.Pattern[str]:
    if part.startswith('"'):
        return re.compile(re.escape(part[1:-1].replace('""', '"')))
    folded = (identifiers(part) or (part,))[0]
    return re.compile(re.escape(folded).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
