"""What a trial must know before it begins: who asks, what the role would begin with, what the relation is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.collect.trial.names import path_names
from kit.collect.trial.records import Subject
from kit.collect.trial.settings import RoleSettings, literal, role_settings
from kit.errors import ParameterError

Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Session:
    """The asker's session as the server gave it; `settings` by name: setting, source, context.

    `power` says why nobody's function may become the asker: READ ONLY stops neither COPY TO PROGRAM nor a superuser's eyes.
    """

    session_user: str
    database: str
    version: int
    power: str | None
    is_pooled: bool
    settings: Mapping[str, tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Facts:
    """The role and the relation. `path` are the schemas that a name is looked for in; `column` one that an UPDATE may name."""

    role_oid: int
    may_set_role: bool
    why_not: str | None
    settings: RoleSettings
    path: tuple[str, ...]
    relation_oid: int | None
    kind: str | None
    estimated_rows: int | None
    column: str | None


def session_of(ask: Ask, process: int) -> Session:
    """Return the session, asked with nothing set: the search_path may be hostile, so there is no operator here.

    `process` is the server's process as the connection was told: a pooler tells a number of its own.
    """
    row = ask("""
select session_user::pg_catalog.text, pg_catalog.current_database()::pg_catalog.text, pg_catalog.pg_backend_pid(),
  pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('is_superuser'),
  pg_catalog.pg_has_role(session_user, 'pg_execute_server_program', 'MEMBER'),
  pg_catalog.pg_has_role(session_user, 'pg_write_server_files', 'MEMBER'),
  pg_catalog.pg_has_role(session_user, 'pg_read_server_files', 'MEMBER')""")[0]
    power = "is a superuser" if row[4] == "on" else "may run programs or open files on the server" if any(row[5:]) else None
    settings = ask("select s.name, s.setting, s.source, s.context from pg_catalog.pg_settings as s")
    known = {name.lower(): tuple(rest) for name, *rest in settings}
    return Session(row[0], row[1], int(row[3]), power, row[2] != process, known)


def facts_of(ask: Ask, session: Session, subject: Subject) -> Facts:
    """Return what the catalogs say of role and relation, asked with an empty search_path; ParameterError for no such role."""
    role_oid, may_set, why_not = _role(ask, session, subject.role)
    settings = _settings(ask, session, role_oid)
    names = [subject.role if name == "$user" else name for name in path_names(settings.search_path)]
    relation_oid, kind, estimated, column = _relation(ask, session, subject, role_oid)
    return Facts(role_oid, may_set, why_not, settings, _usable(ask, role_oid, names), relation_oid, kind, estimated, column)


def _role(ask: Ask, session: Session, name: str) -> tuple[int, bool, str | None]:
    settable = "SET" if session.version >= 160_000 else "MEMBER"
    rows = ask(f"""
select r.oid::text, pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER'),
  pg_catalog.pg_has_role(session_user, r.oid, '{settable}'),
  pg_catalog.quote_ident(r.rolname::text), pg_catalog.quote_ident(session_user::text)
from pg_catalog.pg_roles as r where r.rolname::text = {literal(name)}""")
    if not rows:
        raise ParameterError(f"There is no role {name!r} on this server.", "See `kit show --target T roles` for the names.")
    oid, is_member, may_set, role, asker = rows[0]
    if may_set:
        return int(oid), True, None
    if is_member:
        why = f"{asker} is a member of {role} without the SET option: grant {role} to {asker} with set true"
    else:
        why = f"{asker} is not a member of {role}: grant {role} to {asker}"
    return int(oid), False, f"{why}, or ask as somebody who may SET ROLE to it"


def _settings(ask: Ask, session: Session, role_oid: int) -> RoleSettings:
    rows = ask(f"""
select case when s.setrole = 0 then case when s.setdatabase = 0 then 'all' else 'database' end
  when s.setdatabase = 0 then 'role' else 'role in database' end, m.text
from pg_catalog.pg_db_role_setting as s cross join lateral pg_catalog.unnest(s.setconfig) as m (text)
where s.setrole in (0, {role_oid})
  and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database()))
order by s.setrole = 0, s.setdatabase = 0""")
    restricted = [name for name, (_, _, context) in session.settings.items() if context != "user"]
    return role_settings({name: (value, source) for name, (value, source, _) in session.settings.items()}, rows, restricted)


def _usable(ask: Ask, role_oid: int, names: list[str]) -> tuple[str, ...]:
    """Return the schemas of the path that are there and that the role may use: the server passes over the others."""
    if not names:
        return ()
    listed = ", ".join(map(literal, names))
    rows = ask(f"""
select n.nspname::text from pg_catalog.pg_namespace as n
where n.nspname::text in ({listed}) and pg_catalog.has_schema_privilege({role_oid}::oid, n.oid, 'USAGE')""")
    found = {row[0] for row in rows}
    return tuple(name for name in dict.fromkeys(names) if name in found)


def _relation(
    ask: Ask, session: Session, subject: Subject, role_oid: int
) -> tuple[int | None, str | None, int | None, str | None]:
    schema, name = map(literal, subject.relation)
    rows = ask(f"""
select c.oid::text, c.relkind::text, c.reltuples::float8, (
  select pg_catalog.quote_ident(a.attname) from pg_catalog.pg_attribute as a
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  order by pg_catalog.has_column_privilege({role_oid}::oid, c.oid, a.attnum, 'UPDATE') desc, a.attnum limit 1)
from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname::text = {schema} and c.relname::text = {name}""")
    if not rows:
        return None, None, None, None
    oid, kind, tuples, column = rows[0]
    # Before 14 a table that was never analyzed says 0, since then -1.
    is_known = tuples >= 0 and (tuples > 0 or session.version >= 140_000)
    return int(oid), kind, int(tuples) if is_known else None, column
