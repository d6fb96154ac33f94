"""Named targets: what `--target` may say, and `kit.toml`. A password is never stored here.

What kit.toml may say is told in `kit.target.configuration`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from kit.errors import TargetError
from kit.target.configuration import (
    SOURCE_KEYS,
    TARGET_KEYS,
    config_path,
    exposed_of,
    hypotheses_of,
    refuse_types,
    refuse_unknown,
    table,
    targets_in,
)
from kit.target.poolers import PoolerSource, pooler_of
from kit.target.reach import KEYS as _REACH_KEYS
from kit.target.reach import Reach, reach_of
from kit.target.services import Services, services_of
from kit.target.strings import NamedString, strings_of

__all__ = ["DatabaseSource", "Described", "Target", "config_path", "described", "libpq_form", "resolve"]

_NAMING_KEYS = ("service", "dsn", "dsn_env", "dsn_command", "cloudsql")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_SCHEME = re.compile(r"([a-z][a-z0-9+.:-]*)://", re.IGNORECASE)
# libpq's keywords and values: a value in quotes is one value, whatever stands in it.
_KEYWORD = re.compile(r"\s*(\w+)\s*=\s*('(?:\\.|[^'\\])*'|(?!')(?:\\.|[^\s\\])*)(?:\s+|\Z)")
_PERCENT_ENCODE = "In a URL, percent-encode @ / # ? : and % in user and password."


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """A database asked as one identity; `conninfo` may hold a password, so it is never shown.

    `exposed` are the roles that strangers reach, PUBLIC among them as "public"; None where the target names none.
    `reach` is what has to be run first (`kit.collect.reaching`), or None.
    """

    name: str
    conninfo: str = field(repr=False)
    vantage: str = "here"
    exposed: tuple[str, ...] | None = None
    reach: Reach | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is looked at: databases, a folder of cloud exports, services, or a saved bundle."""

    name: str
    databases: tuple[DatabaseSource, ...] = ()
    cloud: Path | None = None
    bundle: Path | None = None
    out_of_scope: tuple[str, ...] = ()
    # Stated causes, each with the checks that would decide it.
    hypotheses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    # The services' own connection strings, by the variables that hold them, and the file that says what they expect.
    strings: tuple[NamedString, ...] = ()
    expected_schema: Path | None = None
    poolers: tuple[PoolerSource, ...] = ()
    services: Services | None = None

    @property
    def conninfos(self) -> tuple[str, ...]:
        """The connection strings of all that is asked; each may hold a password, so they are never shown."""
        return (*(source.conninfo for source in self.databases), *(pooler.conninfo for pooler in self.poolers))


@dataclass(frozen=True, slots=True)
class Described:
    """What kit.toml says of a target apart from how to reach it; each None where it says nothing."""

    vantage: str | None = None
    exposed: tuple[str, ...] | None = None
    cloud: Path | None = None


def described(name: str) -> Described:
    """Return what kit.toml says of the target of this name, whose connection is not looked at; nothing where it has none.

    Of several sources none gives the vantage. TargetError where the file cannot be read.
    """
    path = config_path()
    if path is None:
        return Described()
    targets, _ = targets_in(path)
    where = f"[targets.{name}] in {path}"
    entry = table(targets.get(name, {}), where)
    refuse_unknown(entry, TARGET_KEYS, where)
    refuse_types(entry, where)
    vantage = entry.get("vantage") if not entry.get("sources") else None
    return Described(vantage, exposed_of(entry), path.parent / entry["cloud"] if "cloud" in entry else None)


def resolve(text: str, cloud: Path | None = None) -> Target:
    """Return the target that `text` names: a bundle's folder, `service=…`, a URL, keywords, or a name in kit.toml.

    A name in kit.toml goes before a folder of that name; ./NAME is always the folder.
    `cloud` adds a folder of cloud exports. Raises TargetError with the next step where it names nothing.
    """
    target = _resolve(text.strip())
    return target if cloud is None else _with_cloud(target, cloud)


def _with_cloud(target: Target, cloud: Path) -> Target:
    if target.bundle is not None:
        hint = "A bundle holds its own cloud evidence; capture again with --cloud."
        raise TargetError("--cloud adds nothing to a bundle.", hint)
    if not cloud.is_dir():
        hint = "Name a folder of files that gcloud wrote with --format=json."
        raise TargetError(f"The folder of cloud exports {cloud} is not there.", hint)
    return replace(target, cloud=cloud)


def _resolve(text: str) -> Target:
    if not text:
        raise TargetError("No target is named.", "Use --target with a name from kit.toml, a URL, or a bundle's folder.")
    if _SCHEME.match(text):
        return _direct(text)
    if Path(text).is_dir() and not _is_configured(text):
        return Target(Path(text).resolve().name, bundle=Path(text))
    if "=" in text:
        return _direct(text)
    return _configured(text)


def _direct(text: str) -> Target:
    conninfo = libpq_form(text)
    return Target(_shown(conninfo), (DatabaseSource("database", conninfo),))


def libpq_form(text: str) -> str:
    """Return a connection string without SQLAlchemy's driver suffix, which libpq does not know; TargetError where it is none."""
    found = _SCHEME.match(text)
    if not found:
        return text
    scheme, rest = found[1].lower(), text[found.end() :]
    if scheme.split("+")[0] not in ("postgres", "postgresql"):
        raise TargetError(f"{scheme}:// is not PostgreSQL.", "Give a postgresql:// URL, service=NAME, or a bundle's folder.")
    _refuse_unencoded(rest)
    return f"postgresql://{rest}"


def _refuse_unencoded(rest: str) -> None:
    """Raise TargetError where a password would be cut at its own @ or /: libpq would take the rest for host or database."""
    address = _address(rest)
    if address.count("@") > 1 or "@" in address.partition("/")[2]:
        raise TargetError("The URL cannot be read: it holds an @ where none may be.", _PERCENT_ENCODE)


def _address(rest: str) -> str:
    """Return user, password, host and database of a URL: libpq looks for the query only after the first @."""
    credentials, mark, behind = rest.partition("@")
    if not mark or "/" in credentials:
        return rest.partition("?")[0]
    return f"{credentials}@{behind.partition('?')[0]}"


def _shown(conninfo: str) -> str:
    """Return a name for a target given directly: user, host and database, never the password."""
    if "://" in conninfo and _SCHEME.match(conninfo):
        return _shown_url(conninfo)
    known = ("service", "user", "host", "dbname")
    shown = (f"{key}={value}" for key, value in _keywords(conninfo) if key in known and "://" not in value)
    return " ".join(shown) or "database"


def _keywords(conninfo: str) -> list[tuple[str, str]]:
    """Return the keywords and values, or nothing if it is not made of such: any part might be one of a password."""
    found, end = [], 0
    while end < len(conninfo):
        match = _KEYWORD.match(conninfo, end)
        if match is None:
            return []
        found.append((match[1], match[2].strip("'")))
        end = match.end()
    return found


def _shown_url(url: str) -> str:
    rest = url.partition("://")[2]
    address = _address(rest)
    credentials, mark, place = address.rpartition("@")
    host, _, path = place.partition("/")
    query = parse_qs(rest[len(address) + 1 :])
    shown_host = unquote(host) or (query.get("host") or [""])[0]
    user = f"{unquote(credentials.partition(':')[0])}@" if mark else ""
    return f"{user}{shown_host}{'/' if path else ''}{unquote(path)}" or "database"


def _is_configured(name: str) -> bool:
    """Return whether kit.toml names this target; what holds a separator is a path."""
    path = config_path()
    if path is None or "/" in name or os.sep in name:
        return False
    with contextlib.suppress(TargetError):
        return name in targets_in(path)[0]
    return False


def _configured(name: str) -> Target:
    path, said = config_path(), _said(name)
    if path is None:
        raise TargetError(
            f"There is no kit.toml here or above, and {said} is no folder, URL or connection string.",
            "Write one (see README), or give --target a postgresql:// URL or a bundle's folder.",
        )
    targets, digest = targets_in(path)
    if name not in targets:
        known = ", ".join(sorted(targets)) or "none"
        raise TargetError(f"{path} names no target {said}.", f"It names: {known}.")
    # Commands are confirmed for the very bytes that were read here.
    return _target(name, table(targets[name], f"targets.{name} in {path}"), path, digest)


def _said(name: str) -> str:
    # A connection string with a slip of the pen comes here too, and may hold a password.
    return "what was given (it is not repeated: it may hold a password)" if re.search(r"[@:\s]", name) else repr(name)


def _target(name: str, entry: Mapping[str, Any], path: Path, digest: str) -> Target:
    refuse_unknown(entry, TARGET_KEYS, f"[targets.{name}] in {path}")
    refuse_types(entry, f"[targets.{name}] in {path}")
    own = {key: entry[key] for key in SOURCE_KEYS if key in entry}
    has_database = any(key in own for key in _NAMING_KEYS)
    sources = [_source("database", own, path, digest)] if has_database else []
    if not has_database and own.keys() & _REACH_KEYS:
        raise TargetError(f"[targets.{name}] in {path} says how to get there and not where.", "Give it service, dsn_env or dsn.")
    named = table(entry.get("sources", {}), f"targets.{name}.sources in {path}")
    sources += [_source(key, table(value, f"source {key!r} in {path}"), path, digest) for key, value in named.items()]
    sources = [replace(source, exposed=exposed_of(entry)) for source in sources]
    cloud = path.parent / entry["cloud"] if "cloud" in entry else None
    poolers = _poolers({"database": own, **named}, f"[targets.{name}] in {path}")
    services = services_of(entry.get("services"), path.parent, entry.get("vantage", "here"), f"[targets.{name}] in {path}")
    if not sources and cloud is None and not poolers and services is None:
        raise TargetError(f"[targets.{name}] in {path} names no source.", "Give it service, dsn_env, dsn, cloud or services.")
    scope, stated = tuple(entry.get("out_of_scope", ())), hypotheses_of(entry, f"[targets.{name}] in {path}")
    expected = path.parent / entry["expected_schema"] if "expected_schema" in entry else None
    strings = strings_of(entry, f"[targets.{name}] in {path}")
    found = Target(name, tuple(sources), cloud, out_of_scope=scope, hypotheses=stated, poolers=poolers)
    return replace(found, strings=strings, expected_schema=expected, services=services)


def _poolers(sources: Mapping[str, Mapping[str, Any]], where: str) -> tuple[PoolerSource, ...]:
    found = [pooler_of(name, entry, f"{name!r} of {where}") for name, entry in sources.items()]
    poolers = tuple(replace(pooler, conninfo=libpq_form(pooler.conninfo)) for pooler in found if pooler)
    taken = sorted({pooler.name for pooler in poolers} & sources.keys())
    if taken:
        raise TargetError(f"{where} names the source {taken[0]!r}, which is its pooler's name.", "Name the source otherwise.")
    return poolers


def _source(name: str, entry: Mapping[str, Any], path: Path, digest: str) -> DatabaseSource:
    refuse_unknown(entry, SOURCE_KEYS, f"source {name!r} in {path}")
    refuse_types(entry, f"source {name!r} in {path}")
    if not _NAME.match(name) or name in ("cloud", "strings", "services"):
        raise TargetError(f"{name!r} in {path} cannot name a source.", "Use small letters, digits, '.', '_' and '-'.")
    conninfo = libpq_form(_conninfo(name, entry, path))
    reach = reach_of(entry, path, digest, f"source {name!r} in {path}")
    return DatabaseSource(name, conninfo, entry.get("vantage", "here"), reach=reach)


def _conninfo(name: str, entry: Mapping[str, Any], path: Path) -> str:
    if "service" in entry:
        return f"service={entry['service']}"
    if "dsn_env" in entry:
        value = os.environ.get(entry["dsn_env"])
        if not value:
            raise TargetError(f"{path} reads {name!r} from ${entry['dsn_env']}, which is not set.", "Export it first.")
        return value
    dsn = str(entry.get("dsn", ""))
    if re.search(r"://[^@]*:[^@]+@|password\s*=", dsn):
        raise TargetError(f"The dsn of {name!r} in {path} holds a password.", "Use dsn_env, a service, or ~/.pgpass.")
    return dsn
