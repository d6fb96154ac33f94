"""How a target is reached, as kit.toml says it: commands, a tunnel, a Cloud SQL instance. Nothing is run here.

dsn_command = ["vault-dsn", "shop"]                    # prints the connection string
password_command = ["gcloud", "sql", "generate-login-token"]
tunnel = ["ssh", "-N", "-L", "15432:db:5432", "bastion"]    # started and stopped by the kit; waits for its port
cloudsql = "PROJECT:REGION:INSTANCE"                   # through Google's connector; dsn gives user and database
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import TargetError
from kit.evidence.instances import instance_of

COMMANDS = ("dsn_command", "password_command", "tunnel")
KEYS = frozenset({*COMMANDS, "cloudsql"})


@dataclass(frozen=True, slots=True)
class Reach:
    """What has to be run before a database can be asked; `config_sha256` is that of the file that names it."""

    config: Path
    config_sha256: str
    dsn_command: tuple[str, ...] = ()
    password_command: tuple[str, ...] = ()
    tunnel: tuple[str, ...] = ()
    cloudsql: str | None = None

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The commands that somebody has to have confirmed, each a list of arguments."""
        return tuple(command for command in (self.dsn_command, self.password_command, self.tunnel) if command)


def reach_of(entry: Mapping[str, Any], config: Path, config_sha256: str, where: str) -> Reach | None:
    """Return what the entry says of the way to the database, or None; TargetError where that cannot be meant."""
    if not KEYS & entry.keys():
        return None
    for key in COMMANDS:
        _refuse_command(entry.get(key, ["true"]), key, where)
    if "dsn_command" in entry and entry.keys() & {"dsn", "dsn_env", "service", "cloudsql"}:
        raise TargetError(f"{where} gives the connection string twice.", "Keep dsn_command, or the other one.")
    if "tunnel" in entry and "cloudsql" in entry:
        raise TargetError(f"{where} names a tunnel and a Cloud SQL instance.", "The connector needs no tunnel: keep one of them.")
    commands = {key: tuple(entry.get(key, ())) for key in COMMANDS}
    return Reach(config, config_sha256, cloudsql=_instance(entry, where), **commands)


def _refuse_command(value: Any, key: str, where: str) -> None:
    is_list = isinstance(value, list) and value and all(isinstance(part, str) and "\0" not in part for part in value)
    if not is_list or not value[0]:
        hint = f'Write it as {key} = ["program", "argument"]; no shell reads it.'
        raise TargetError(f"{key} of {where} is not a list of arguments.", hint)


def _instance(entry: Mapping[str, Any], where: str) -> str | None:
    instance = entry.get("cloudsql")
    if instance is None:
        return None
    named = instance_of(instance) if isinstance(instance, str) else None
    if named is None or not named.has_region:
        region = named.region_of_zone if named else None
        hint = f"The middle part is a zone; the region is {region}." if region else 'Write it as "PROJECT:REGION:INSTANCE".'
        raise TargetError(f"cloudsql of {where} is not the connection name of an instance.", hint)
    return str(named)
