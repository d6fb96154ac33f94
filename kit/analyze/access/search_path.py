"""The search_path that a role has after a login, from the settings of roles and databases.

Not the asker's own: frame `settings` shows what the asker's session has, and only its `source` tells
whether another role would have the same. PostgreSQL manual: 5.10.3 "The Schema Search Path", 20.1.3
"Parameter Interaction via the Database" (what is set for a role in a database wins over the role, the
role over the database, the database over all).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from kit.evidence.model import Frames

Origin = Literal["session", "member", "role in database", "role", "database", "all", "server", "default", "assumed"]

BUILT_IN = '"$user", public'
# Where a value of `settings` comes from that every session of the server begins with.
_SERVER_SOURCES = ("environment variable", "configuration file", "command line", "override")
_NAME_BYTES = 63
_SPACES = " \t\n\r\f\v"
_ITEM = re.compile(r'[ \t-\r]*(?:"((?:[^"]|"")*)"|([^", \t-\r][^, \t-\r]*))[ \t-\r]*(,|\Z)')


@dataclass(frozen=True, slots=True)
class SearchPath:
    """A role's search_path: its text, its names with `"$user"` replaced, and where it was set.

    `names` is None where the text cannot be read (masked). The origin `assumed` means that the asker's own setting
    hides the server's, so that the built-in default is taken for it.
    """

    role: str
    text: str
    names: tuple[str, ...] | None
    origin: Origin

    @property
    def is_known(self) -> bool:
        """Return whether the names could be read."""
        return self.names is not None

    @property
    def entries(self) -> tuple[str, ...]:
        """Return the names in order; none where they are not known."""
        return self.names or ()

    @property
    def own(self) -> frozenset[str]:
        """Return the names that somebody chose for this very role: its own setting, or the schema of its name."""
        if self.origin in ("role in database", "role"):
            return frozenset(self.entries)
        return frozenset(self.entries) & {self.role}

    @property
    def is_shared(self) -> bool:
        """Return whether somebody set it, but for a whole database or server."""
        return self.origin in ("database", "all", "server")


class SearchPaths:
    """The search_path of every role in one database."""

    def __init__(self, frames: Frames, database: str) -> None:
        self._database = database
        self._settings = _role_settings(frames["role_settings"])
        self._server = _server_default(frames)

    def of(self, role: str) -> SearchPath:
        """Return what `show search_path` would say right after a login of `role`."""
        keys: tuple[tuple[Origin, tuple[str | None, str | None]], ...] = (
            ("role in database", (role, self._database)),
            ("role", (role, None)),
            ("database", (None, self._database)),
            ("all", (None, None)),
        )
        for origin, key in keys:
            if key in self._settings:
                return _path(role, self._settings[key], origin)
        return _path(role, *self._server)


def identifiers(text: str) -> tuple[str, ...] | None:
    """Return the names of a list, by the server's rules (SplitIdentifierString), or None where it is malformed.

    >>> identifiers('"$user", Public,"Odd, name" ')
    ('$user', 'public', 'Odd, name')
    >>> identifiers("app, public,") is None
    True
    """
    text = text.strip(_SPACES)
    found: list[str] = []
    position = 0
    while text:
        match = _ITEM.match(text, position)
        if match is None:
            return None
        found.append(_truncated(_folded(match[2]) if match[1] is None else match[1].replace('""', '"')))
        if match[3] != ",":
            break
        position = match.end()
    return tuple(found)


def _folded(name: str) -> str:
    # Only ASCII letters fold in UTF-8; a name in another encoding with its own rule is not worth one here.
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _truncated(name: str) -> str:
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def _path(role: str, text: str, origin: Origin) -> SearchPath:
    names = None if text == "<masked>" else identifiers(text)
    expanded = None if names is None else tuple(role if name == "$user" else name for name in names)
    return SearchPath(role, text, expanded, origin)


def _role_settings(frame: pd.DataFrame) -> dict[tuple[str | None, str | None], str]:
    rows = frame[frame["setting_name"] == "search_path"]
    return {
        (_optional(row.role_name), _optional(row.database_name)): _optional(row.setting_value) or "" for row in rows.itertuples()
    }


def _server_default(frames: Frames) -> tuple[str, Origin]:
    if "settings" not in frames:
        return BUILT_IN, "assumed"
    rows = frames["settings"].loc[lambda frame: frame["setting_name"] == "search_path"]
    source = str(rows["source"].iloc[0]) if len(rows) else ""
    if source == "default":
        return str(rows["setting"].iloc[0]), "default"
    if source in _SERVER_SOURCES:
        return str(rows["setting"].iloc[0]), "server"
    return BUILT_IN, "assumed"


def _optional(value: object) -> str | None:
    return None if pd.isna(value) else str(value)
