"""Named targets: what `--target` may say, and `kit.toml`. A password is never stored here.

`kit.toml`, found upwards from the working folder or by `KIT_CONFIG`:

    [targets.shop]
    service = "shop"              # or dsn_env = "SHOP_DSN", or dsn = "postgresql://kit@db/shop" without password
    vantage = "laptop"
    cloud = "exports"             # a folder of cloud exports, relative to this file
    out_of_scope = ["service"]

    [targets.shop.sources.api]    # the same place asked as another identity
    dsn_env = "SHOP_API_DSN"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kit.errors import TargetError

CONFIG_NAME = "kit.toml"
_KEYS = {"service", "dsn", "dsn_env", "vantage", "cloud", "out_of_scope", "sources"}
_SOURCE_KEYS = {"service", "dsn", "dsn_env", "vantage"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """A database asked as one identity; `conninfo` may hold a password, so it is never shown."""

    name: str
    conninfo: str = field(repr=False)
    vantage: str = "here"


@dataclass(frozen=True, slots=True)
class Target:
    """What is looked at: databases, a folder of cloud exports, or a saved bundle."""

    name: str
    databases: tuple[DatabaseSource, ...] = ()
    cloud: Path | None = None
    bundle: Path | None = None
    out_of_scope: tuple[str, ...] = ()


def resolve(text: str, cloud: Path | None = None) -> Target:
    """Return the target that `text` names: a bundle's folder, `service=…`, a URL, keywords, or a name in kit.toml.

    `cloud` adds a folder of cloud exports. Raises TargetError with the next step where it names nothing.
    """
    target = _resolve(text.strip())
    return target if cloud is None else replace(target, cloud=cloud)


def config_path(start: Path | None = None) -> Path | None:
    """Return the kit.toml in force: `KIT_CONFIG`, else the nearest one upwards, else None."""
    named = os.environ.get("KIT_CONFIG")
    if named:
        return Path(named)
    folder = (start or Path.cwd()).resolve()
    return next((f / CONFIG_NAME for f in (folder, *folder.parents) if (f / CONFIG_NAME).is_file()), None)


def _resolve(text: str) -> Target:
    if not text:
        raise TargetError("No target is named.", "Use --target with a name from kit.toml, a URL, or a bundle's folder.")
    if re.match(r"[a-z][a-z0-9+]*://", text):
        return _direct(text)
    if Path(text).is_dir():
        return Target(Path(text).resolve().name, bundle=Path(text))
    if "=" in text:
        return _direct(text)
    return _configured(text)


def _direct(text: str) -> Target:
    conninfo = _libpq(text)
    return Target(_shown(conninfo), (DatabaseSource("database", conninfo),))


def _libpq(text: str) -> str:
    """Return a URL without SQLAlchemy's driver suffix, which libpq does not know."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    if scheme.split("+")[0] not in ("postgres", "postgresql"):
        raise TargetError(f"{scheme}:// is not PostgreSQL.", "Give a postgresql:// URL, service=NAME, or a bundle's folder.")
    return f"postgresql://{rest}"


def _shown(conninfo: str) -> str:
    """Return a name for a target given directly: user, host and database, never the password."""
    if "://" in conninfo:
        return _shown_url(conninfo)
    shown = dict(re.findall(r"\b(service|user|host|dbname)\s*=\s*([^\s']+|'[^']*')", conninfo))
    return " ".join(f"{key}={value}" for key, value in shown.items()) or "database"


def _shown_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or (parse_qs(parts.query).get("host") or [""])[0]
        user = f"{parts.username}@" if parts.username else ""
        return f"{user}{host}{parts.path}" or "database"
    except ValueError:
        return "database"


def _configured(name: str) -> Target:
    path = config_path()
    if path is None:
        raise TargetError(
            f"There is no kit.toml here or above, and {name!r} is no folder, URL or connection string.",
            "Write one (see README), or give --target a postgresql:// URL or a bundle's folder.",
        )
    targets = _read(path).get("targets", {})
    if name not in targets:
        known = ", ".join(sorted(targets)) or "none"
        raise TargetError(f"{path} names no target {name!r}.", f"It names: {known}.")
    return _target(name, targets[name], path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}.", "Mend KIT_CONFIG or the file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path} is not valid TOML: {error}.", "Mend the file.") from error


def _target(name: str, entry: Mapping[str, Any], path: Path) -> Target:
    _refuse(entry, _KEYS, f"[targets.{name}] in {path}")
    own = {key: entry[key] for key in _SOURCE_KEYS if key in entry}
    has_database = any(key in own for key in ("service", "dsn", "dsn_env"))
    sources = [_source("database", own, path)] if has_database else []
    sources += [_source(key, value, path) for key, value in entry.get("sources", {}).items()]
    cloud = path.parent / entry["cloud"] if "cloud" in entry else None
    if not sources and cloud is None:
        raise TargetError(f"[targets.{name}] in {path} names no source.", "Give it service, dsn_env, dsn or cloud.")
    return Target(name, tuple(sources), cloud, out_of_scope=tuple(entry.get("out_of_scope", ())))


def _source(name: str, entry: Mapping[str, Any], path: Path) -> DatabaseSource:
    _refuse(entry, _SOURCE_KEYS, f"source {name!r} in {path}")
    if not _NAME.match(name) or name == "cloud":
        raise TargetError(f"{name!r} in {path} cannot name a source.", "Use small letters, digits, '.', '_' and '-'.")
    return DatabaseSource(name, _libpq(_conninfo(name, entry, path)), entry.get("vantage", "here"))


def _conninfo(name: str, entry: Mapping[str, Any], path: Path) -> str:
    if "service" in entry:
        return f"service={entry['service']}"
    if "dsn_env" in entry:
        value = os.environ.get(entry["dsn_env"])
        if not value:
            raise TargetError(f"{path} reads {name!r} from ${entry['dsn_env']}, which is not set.", "Export it first.")
        return value
    dsn = str(entry.get("dsn", ""))
    if re.search(r"://[^/@]*:[^/@]+@|password\s*=", dsn):
        raise TargetError(f"The dsn of {name!r} in {path} holds a password.", "Use dsn_env, a service, or ~/.pgpass.")
    return dsn


def _refuse(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise TargetError(f"{where} has the unknown key {unknown[0]!r}.", f"Known: {', '.join(sorted(known))}.")
