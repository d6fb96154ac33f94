"""What a trial sets for one transaction: the role's own settings, which SET ROLE leaves out, and the claims of a token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.collect import masking
from kit.collect.connection import STATEMENT_SECONDS

LOCK_MILLISECONDS = 100
OWN_ORIGINS = ("kit", "trial", "server", "the kit's limit", "assumed")
_SERVER_SOURCES = ("default", "environment variable", "configuration file", "command line", "override")
_BASE = {"search_path": '"$user", public', "row_security": "on"}
_LIMITED = {"statement_timeout": STATEMENT_SECONDS * 1000, "lock_timeout": LOCK_MILLISECONDS}
_PLAIN = frozenset(
    "search_path row_security timezone datestyle intervalstyle bytea_output extra_float_digits default_text_search_config"
    " plan_cache_mode random_page_cost seq_page_cost effective_cache_size xmloption".split()
)
# The server takes other names too; not all versions do, and no claim needs them.
_CUSTOM = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+")
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*")
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
_CLAIM = "request.jwt.claim"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the transaction; `value` may be a secret, `shown` never is. `origin` says who had it set."""

    name: str
    value: str
    origin: str

    @property
    def shown(self) -> str:
        """The value, where the kit shows a setting of that name."""
        if self.origin in OWN_ORIGINS:
            return self.value
        return "…" if self.name.startswith(_CLAIM) else masking.option_value(self.name, self.value)


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """The settings a login of the role would have: applied, and the names of those that are not."""

    applied: tuple[Setting, ...]
    left_out: tuple[str, ...]
    is_path_assumed: bool

    @property
    def search_path(self) -> str:
        """The search_path of the trial."""
        return next(setting.value for setting in self.applied if setting.name == "search_path")


def literal(text: str) -> str:
    """Return a text as SQL, whatever standard_conforming_strings says; as libpq's own function does.

    >>> literal("O'Hara"), literal("a" + chr(92))
    ("'O''Hara'", " E'a\\\\\\\\'")
    """
    quoted = text.replace("'", "''")
    return f"'{quoted}'" if "\\" not in text else " E'" + quoted.replace("\\", "\\\\") + "'"


def identifier(name: str) -> str:
    """Return a name as SQL, always in quotes."""
    return '"' + name.replace('"', '""') + '"'


def set_locally(settings: Iterable[Setting], *, shown: bool = False) -> str:
    """Return the one statement that sets them until the transaction ends; `shown` for a reader, without values to hide."""
    calls = (
        f"pg_catalog.set_config({literal(setting.name)}, {literal(setting.shown if shown else setting.value)}, true)"
        for setting in settings
    )
    return f"select {', '.join(calls)}"


def role_settings(
    session: Mapping[str, tuple[str, str]], rows: Iterable[tuple[str, str]], restricted: Iterable[str]
) -> RoleSettings:
    """Return what a login of the role would begin with, as far as a trial may set it.

    `session` has setting and source of the asker's own session; `rows` are origin and `name=value`, the stronger first;
    `restricted` names the settings that not everybody may set.
    """
    found: dict[str, Setting] = {}
    for origin, text in rows:
        name, _, value = text.partition("=")
        found.setdefault(name.lower(), Setting(name.lower(), value, origin))
    is_path_assumed = "search_path" not in found and session["search_path"][1] not in _SERVER_SOURCES
    base = {name: _of_server(name, session) for name in (*_BASE, *_LIMITED)}
    allowed = {name: setting for name, setting in found.items() if _is_harmless(name, set(restricted))}
    chosen = {**{name: setting for name, setting in base.items() if setting}, **allowed}
    applied = tuple(_limited(setting) for setting in chosen.values() if setting)
    return RoleSettings(applied, tuple(sorted(found.keys() - allowed.keys())), is_path_assumed)


def claim_settings(claims: Mapping[str, Any], role: str) -> tuple[Setting, ...]:
    """Return both ways in which a token's claims reach SQL: as one JSON text, and the legacy one setting a claim."""
    whole = json.dumps({"role": role, **claims}, ensure_ascii=False)
    named = {"request.jwt.claims": whole, _CLAIM: whole}
    named |= {f"{_CLAIM}.{key}": _scalar(value) for key, value in {"role": role, **claims}.items() if _is_settable(key, value)}
    return tuple(Setting(name, value, "claims") for name, value in named.items())


def unsettable_claims(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the claims that have no setting of their own: nested ones, and names that no setting can have."""
    return tuple(key for key, value in claims.items() if not _is_settable(key, value))


def is_custom(name: str) -> bool:
    """Return whether a name is an application's own setting, which a session remembers once it was set."""
    return "." in name


def _is_settable(key: str, value: Any) -> bool:
    is_text = isinstance(value, str | int | float) and "\0" not in str(value)
    return is_text and _CUSTOM.fullmatch(f"{_CLAIM}.{key}") is not None


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _of_server(name: str, session: Mapping[str, tuple[str, str]]) -> Setting | None:
    value, source = session[name]
    if source in _SERVER_SOURCES:
        return Setting(name, value, "server")
    return Setting(name, _BASE[name], "assumed") if name in _BASE else Setting(name, "0", "assumed")


def _is_harmless(name: str, restricted: set[str]) -> bool:
    if is_custom(name):
        return name not in restricted and not name.startswith(_CLAIM) and _CUSTOM.fullmatch(name) is not None
    return name in _PLAIN or name in _LIMITED or name.startswith("enable_")


def _limited(setting: Setting) -> Setting:
    if setting.name not in _LIMITED:
        return setting
    wanted, most = _milliseconds(setting.value), _LIMITED[setting.name]
    if 0 < wanted <= most:
        return Setting(setting.name, f"{max(1, round(wanted))}ms", setting.origin)
    return Setting(setting.name, f"{most}ms", "the kit's limit")


def _milliseconds(value: str) -> float:
    match = _DURATION.fullmatch(value)
    return float(match[1]) * _MILLISECONDS[match[2] or "ms"] if match else 0.0
