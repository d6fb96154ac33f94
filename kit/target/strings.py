"""The services' own connection strings, as kit.toml names them: by the variable that holds them, never by their text.

strings = ["DATABASE_URL", {env = "DIRECT_URL", consumer = "prisma", in_container = true}]

They are examined (`kit dsn` says how) and not connected to. A `dsn_env` is one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.errors import TargetError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_TYPES = {"env": str, "consumer": str, "in_container": bool}
_HINT = 'Write it as strings = ["DATABASE_URL"], or {env = "DATABASE_URL", consumer = "prisma"} in the place of a name.'


@dataclass(frozen=True, slots=True)
class NamedString:
    """A connection string by its variable; who reads it, where that is said, and whether that runs in a container.

    `is_way`: the kit itself connects by it.
    """

    variable: str
    consumer: str | None = None
    in_container: bool = False
    is_way: bool = False


def strings_of(entry: Mapping[str, Any], where: str) -> tuple[NamedString, ...]:
    """Return the strings that a target's entry names, its own `dsn_env` and those of its sources after them, each once.

    Raises TargetError where `strings` cannot be meant.
    """
    given = entry.get("strings", [])
    if not isinstance(given, list):
        raise TargetError(f"strings of {where} is not a list of variables.", _HINT)
    named = [_named(item, where) for item in given]
    found = {string.variable: string for string in named}
    others = (NamedString(variable, is_way=True) for variable in _of_sources(entry) if variable not in found)
    return (*found.values(), *others)


def _of_sources(entry: Mapping[str, Any]) -> Iterable[str]:
    sources = entry.get("sources", {})
    entries = [entry, *(sources.values() if isinstance(sources, dict) else ())]
    names = [item["dsn_env"] for item in entries if isinstance(item, dict) and isinstance(item.get("dsn_env"), str)]
    return dict.fromkeys(names)


def _named(item: Any, where: str) -> NamedString:
    said = {"env": item} if isinstance(item, str) else item
    if not isinstance(said, dict) or "env" not in said or said.keys() - _TYPES.keys():
        raise TargetError(f"strings of {where} holds what is no variable.", _HINT)
    if not all(isinstance(value, _TYPES[key]) for key, value in said.items()) or not _VARIABLE.match(said["env"]):
        # What is no variable's name may be the string itself, given in the wrong place: it is not repeated.
        raise TargetError(f"strings of {where} names what is no variable.", _HINT)
    return NamedString(said["env"], said.get("consumer"), said.get("in_container", False))
