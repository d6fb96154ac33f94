"""A search_path none of whose schemas exists.

What it shows: a search_path that was set for a role, a database or both and names no schema of this database; and one
with a name that holds a comma, such as 'app, public' in one pair of quotes, which is one name and not two.

Why it matters: every table name without a schema then "does not exist" (42P01), and CREATE TABLE fails with "no schema has
been selected to create in" (3F000). ALTER ROLE accepts any list without a word. In
`alter role app set search_path = 'app, public'` the quotes make one name, and SHOW search_path shows it in double quotes.

What to do: set it again, each name by itself: set search_path = app, public.

Known limits: critical for a role that an access list of this database names and that logs in to it, where nothing on
its path exists. A role's setting for all databases may be meant for another one: it counts here only for such roles, or
with a comma in a name. An empty search_path is taken for one made empty on purpose. A path that the client sends when it
connects, or that the application sets, is not seen, nor are settings of functions.

References: PostgreSQL manual, 5.10.3 "The Schema Search Path", and ALTER ROLE (SET).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.access.privileges import Access
from kit.analyze.access.search_path import Origin, SearchPath, identifiers
from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.names import is_system_schema
from kit.analyze.service_roles import ServiceRoles, positions
from kit.evidence.model import Frames

LAYER: Layer = "schema"
NEEDS = (*ACCESS_NEEDS, "default_privileges", "column_grants")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("42P01", "3F000")

_SET: tuple[Origin, ...] = ("role in database", "role", "database", "all")
_ROLES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class _Setting:
    """Where a search_path was set: for a role (None: all), in a database (None: all)."""

    role: str | None
    database: str | None

    @property
    def target(self) -> str:
        """Return what ALTER takes to set it again."""
        if self.role is None:
            return "role all" if self.database is None else f"database {quoted(self.database)}"
        return f"role {quoted(self.role)}" + (f" in database {quoted(self.database)}" if self.database else "")

    @property
    def subject(self) -> Subject:
        """Return what a finding about it is about."""
        if self.role is not None:
            return Subject("role", self.role)
        return Subject("setting", "search_path") if self.database is None else Subject("database", self.database)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per setting that leads its roles nowhere, or holds a comma in a name."""
    access = Access(frames)
    services = ServiceRoles(frames, access)
    superusers = [role for role in _logins(frames) if access.is_superuser(role)]
    for setting, paths in _settings([*services, *superusers], access).items():
        if any(path.is_known for path in paths):
            yield Examined(1)
            yield from _judged(setting, paths, services, frames)
        else:
            yield NotExamined(setting.target, "its search_path is masked or cannot be read")


def _logins(frames: Frames) -> list[str]:
    roles = frames["roles"]
    return list(roles.loc[roles["can_login"].astype(bool), "role_name"])


def _settings(roles: Iterable[str], access: Access) -> dict[_Setting, list[SearchPath]]:
    """Return each setting in force, with the paths that these roles get from it."""
    found: dict[_Setting, list[SearchPath]] = {}
    for role in roles:
        path = access.search_path(role)
        if path.origin in _SET:
            by_role = role if path.origin in ("role in database", "role") else None
            in_database = access.database if path.origin in ("role in database", "database") else None
            found.setdefault(_Setting(by_role, in_database), []).append(path)
    return found


def _judged(setting: _Setting, paths: list[SearchPath], services: ServiceRoles, frames: Frames) -> Iterator[Finding]:
    schemas = frozenset(frames["schemas"]["schema_name"])
    lost = [path.role for path in paths if _leads_nowhere(path, schemas)]
    is_at_home = any(services.intention(role).is_at_home for role in lost)
    joined = [name for name in paths[0].entries if "," in name and name not in schemas]
    # A path of the role's own for all databases may be meant for another one.
    is_meant_here = setting.database is not None or setting.role is None or is_at_home
    if joined or (lost and is_meant_here):
        yield Finding(
            severity="critical" if is_at_home else "warning",
            subject=setting.subject,
            message=_message(setting, paths[0], joined, lost),
            remedy=_remedy(setting, paths[0], services, schemas),
            evidence=("role_settings", _rows(setting, frames)),
            value=float(len(lost)),
            unit="roles",
        )


def _leads_nowhere(path: SearchPath, schemas: frozenset[str]) -> bool:
    """Return whether the path names something, and nothing of it is a schema of this database."""
    names = [name for name in path.entries if name and not is_system_schema(name) and name != "pg_temp"]
    return bool(names) and schemas.isdisjoint(names)


def _message(setting: _Setting, path: SearchPath, joined: list[str], lost: list[str]) -> str:
    shown = ", ".join(quoted(role) for role in lost[:_ROLES_SHOWN])
    more = f" and {len(lost) - _ROLES_SHOWN} more" if len(lost) > _ROLES_SHOWN else ""
    defects = [f"{quoted(name)} is one name with a comma in it" for name in joined]
    defects += [f"no schema on it exists, so that no table is found by its plain name for {shown}{more}"] if lost else []
    return f"the search_path of {setting.target} is {path.text}: {', and '.join(defects)}"


def _remedy(setting: _Setting, path: SearchPath, services: ServiceRoles, schemas: frozenset[str]) -> str:
    """Return the statement with the schemas that were meant: the parts that exist, else where the role holds something."""
    meant = dict.fromkeys(schema for name in _parts(path) for schema in _existing(name, schemas))
    held = sorted(services.intention(setting.role).held) if setting.role is not None else []
    if not meant and not held:
        return f"Create the schema, or name one that exists: alter {setting.target} set search_path = …"
    return f"alter {setting.target} set search_path = {', '.join(quoted(name) for name in meant or held)}"


def _parts(path: SearchPath) -> Iterator[str]:
    """Yield the names of the path as they were meant: a name with commas in it as several."""
    for entry in identifiers(path.text) or ():
        yield from (identifiers(entry) or [entry]) if "," in entry else [entry]


def _existing(name: str, schemas: frozenset[str]) -> list[str]:
    """Return the schema that a name means, if it is there, be it in other letters."""
    if name == "$user" or name in schemas:
        return [name]
    return sorted(schema for schema in schemas if schema.lower() == name.lower())


def _rows(setting: _Setting, frames: Frames) -> tuple[int, ...]:
    settings = frames["role_settings"]
    chosen = settings["setting_name"] == "search_path"
    for column, value in (("role_name", setting.role), ("database_name", setting.database)):
        chosen &= settings[column].isna() if value is None else settings[column] == value
    return positions(settings[chosen.fillna(False).astype(bool)])
