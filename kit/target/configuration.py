"""Reading kit.toml: which file is in force, the bytes that were read, and what its tables may hold.

`kit.toml`, found upwards from the working folder or by `KIT_CONFIG`:

    [targets.shop]
    service = "shop"              # or dsn_env = "SHOP_DSN", or dsn = "postgresql://kit@db/shop" without password
    vantage = "laptop"
    cloud = "exports"             # a folder of cloud exports, relative to this file
    out_of_scope = ["service"]
    pooler = "postgresql://stats@bouncer/pgbouncer"   # its admin console, or pooler_env (`kit.target.poolers`)
    exposed = ["public", "web"]   # roles that strangers' requests reach; else PUBLIC, anon and authenticated
    hypotheses = [{statement = "the server is full", checks = ["exhausted_connection_slots"]}]
    expected_schema = "schema.toml"  # what the service expects of the database, as `kit expect --schema` reads it
    strings = ["DATABASE_URL"]    # the service's own connection strings, to be examined and not connected to

    services = "probes.json"      # or URLs to ask, [targets.shop.services] (`kit.target.services`)

    [targets.shop.sources.api]    # the same place asked as another identity
    dsn_env = "SHOP_API_DSN"

How to get there, by commands, a tunnel or Google's connector, is said by the keys of `kit.target.reach`.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.errors import TargetError
from kit.target.poolers import KEYS as _POOLER_KEYS
from kit.target.reach import KEYS as _REACH_KEYS

CONFIG_NAME = "kit.toml"
_ALONE = {"cloud", "out_of_scope", "exposed", "sources", "hypotheses", "strings", "expected_schema", "services"}
TARGET_KEYS = {"service", "dsn", "dsn_env", "vantage", *_ALONE, *_POOLER_KEYS, *_REACH_KEYS}
_LISTS = {"out_of_scope": ("layers", '["service"]'), "exposed": ("roles", '["public", "web"]')}
SOURCE_KEYS = {"service", "dsn", "dsn_env", "vantage", *_POOLER_KEYS, *_REACH_KEYS}


def config_path(start: Path | None = None) -> Path | None:
    """Return the kit.toml in force: `KIT_CONFIG`, else the nearest one upwards, else None."""
    named = os.environ.get("KIT_CONFIG")
    if named:
        return Path(named)
    folder = (start or Path.cwd()).resolve()
    return next((f / CONFIG_NAME for f in (folder, *folder.parents) if (f / CONFIG_NAME).is_file()), None)


def targets_in(path: Path) -> tuple[Mapping[str, Any], str]:
    """Return the tables of the targets by name, and the SHA-256 of the very bytes that were read; TargetError if it cannot be."""
    content = _content(path)
    return table(_parsed(path, content).get("targets", {}), f"targets in {path}"), hashlib.sha256(content).hexdigest()


def table(value: Any, where: str) -> Mapping[str, Any]:
    """Return the value, which has to be a table; TargetError where it is none."""
    if not isinstance(value, dict):
        raise TargetError(f"{where} is not a table.", "Write it as [targets.NAME] with one key on a line.")
    return value


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}.", "Mend KIT_CONFIG or the file.") from error


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path} is not valid TOML: {error}.", "Mend the file.") from error


def refuse_unknown(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    """Raise TargetError where an entry has a key that nothing reads."""
    unknown = sorted(set(entry) - known)
    if unknown:
        raise TargetError(f"{where} has the unknown key {unknown[0]!r}.", f"Known: {', '.join(sorted(known))}.")


def refuse_types(entry: Mapping[str, Any], where: str) -> None:
    """Raise TargetError where a value is not of the kind that its key wants."""
    for key in sorted(entry.keys() - {"sources", "hypotheses", "strings", "services", *_LISTS, *_REACH_KEYS}):
        if not isinstance(entry[key], str):
            raise TargetError(f"{key} of {where} is not a text in quotes.", "Mend the file.")
    for key, (noun, example) in _LISTS.items():
        items = entry.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise TargetError(f"{key} of {where} is not a list of {noun}.", f"Write it as {example}.")


def hypotheses_of(entry: Mapping[str, Any], where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the stated causes; whether there are such checks is for those to say who know them."""
    stated = entry.get("hypotheses", [])
    if not isinstance(stated, list) or not all(_is_hypothesis(item) for item in stated):
        hint = 'Write it as hypotheses = [{statement = "…", checks = ["…"]}].'
        raise TargetError(f"hypotheses of {where} is not a list of causes with their checks.", hint)
    return tuple((item["statement"], tuple(item["checks"])) for item in stated)


def _is_hypothesis(item: Any) -> bool:
    if not isinstance(item, dict) or item.keys() != {"statement", "checks"} or not isinstance(item["statement"], str):
        return False
    return isinstance(item["checks"], list) and all(isinstance(name, str) for name in item["checks"])


def exposed_of(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the roles that the entry exposes, each once; PUBLIC is written as one likes, for no role can have its name."""
    if "exposed" not in entry:
        return None
    return tuple(dict.fromkeys("public" if name == "PUBLIC" else name for name in entry["exposed"]))
