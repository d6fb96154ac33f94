"""Which functions a statement would call: its own, and those of policies, views, defaults and function bodies behind it.

On some hosted images a call without EXECUTE as a role such as anon took the whole cluster down (supabase/postgres#2112),
so they are all looked up in the catalogs, with an empty search_path and as the asker, before anything runs as the role.
In doubt one function too many is taken: of overloads with as many arguments each counts. pg_depend knows nothing of
functions in pg_catalog, so they are read from the node trees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pglast import parser

from kit.collect.trial.names import (
    attributes_named,
    functions_named,
    oid_array,
    operators_named,
    path_names,
    relations_named,
)
from kit.collect.trial.settings import literal
from kit.collect.trial.statement import Mentions, Statement, mentions_of, merged

Ask = Callable[[str], list[tuple[Any, ...]]]
# No statement of an application comes near; a hostile catalog may.
MOST_OBJECTS = 2_000
_FUNCTIONS = ":(?:funcid|opfuncid|aggfnoid|winfnoid) ([1-9][0-9]*)"
_RELATIONS = ":relid ([1-9][0-9]*)"
_COMMANDS = {"SELECT": "r*", "INSERT": "ar*", "UPDATE": "wr*", "DELETE": "dr*", "MERGE": "arwd*"}
_WRITING_DEFAULTS = ("INSERT", "UPDATE", "MERGE")
# Functions of the server that set the role, or run a text that may.
_ROLE_LEAVING = re.compile(r"(set_config|\w+_to_xml\w*|ts_stat|ts_rewrite)\(")
# Queries put together at run time: EXECUTE, FOR … IN EXECUTE, RETURN QUERY EXECUTE and OPEN … FOR EXECUTE.
_DYNAMIC = ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors", '"dynquery"')


@dataclass(frozen=True, slots=True)
class CalledFunction:
    """One function that would be called: its signature, by what, and whether the role may execute it.

    `may_leave_role`: it can undo SET ROLE, which only a SECURITY DEFINER function cannot.
    """

    signature: str
    called_by: str
    may_execute: bool
    is_builtin: bool = False
    is_volatile: bool = False
    may_leave_role: bool = False


@dataclass(frozen=True, slots=True)
class Calls:
    """All that would be called; `unread` are functions whose bodies could not be looked into."""

    functions: tuple[CalledFunction, ...]
    unread: tuple[str, ...]

    @property
    def denied(self) -> tuple[CalledFunction, ...]:
        """The functions that the role may not execute."""
        return tuple(function for function in self.functions if not function.may_execute)

    @property
    def leaving(self) -> tuple[str, ...]:
        """The functions that can undo SET ROLE, or of which that is not known."""
        named = [f"{function.signature} ({function.called_by})" for function in self.functions if function.may_leave_role]
        return (*named, *self.unread)


@dataclass(slots=True)
class _Search:
    ask: Ask
    role_oid: int
    server_version: int
    verb: str
    callers: dict[int, str] = field(default_factory=dict)
    found: dict[int, CalledFunction] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    # Relations by whether somebody else's rights hold inside: then any policy of theirs may apply.
    relations: dict[int, bool] = field(default_factory=dict)

    def call(self, oids: Iterable[int], caller: str) -> None:
        for oid in oids:
            self.callers.setdefault(oid, caller)


def functions_called(
    ask: Ask, role_oid: int, server_version: int, path: Sequence[str], statement: Statement, relation_oid: int | None
) -> Calls:
    """Return every function that the statement, and reading or writing the relation, would call."""
    search = _Search(ask, role_oid, server_version, statement.verb)
    relations = [*_resolve(search, statement.mentions, path, "the statement"), *([relation_oid] if relation_oid else [])]
    waiting = dict.fromkeys(relations, False)
    while waiting or search.callers.keys() - search.found.keys():
        inside = _behind_relations(search, waiting)
        inside |= _behind_functions(search, path)
        waiting = {oid: hidden for oid, hidden in inside.items() if oid not in search.relations or hidden > search.relations[oid]}
        if len(search.relations) + len(search.found) > MOST_OBJECTS:
            search.unread.append(f"what follows after {MOST_OBJECTS:,} objects")
            break
    return Calls(tuple(sorted(search.found.values(), key=lambda called: called.signature)), tuple(sorted(set(search.unread))))


def _behind_relations(search: _Search, waiting: dict[int, bool]) -> dict[int, bool]:
    """Note the functions that the relations' rules, policies and defaults call; return the relations inside those."""
    search.relations |= waiting
    found: dict[int, bool] = {}
    if not waiting:
        return found
    for caller, is_view, functions, relations in search.ask(_trees(search, waiting)):
        search.call(map(int, functions), caller)
        found |= {int(oid): is_view for oid in relations}
    return found


def _trees(search: _Search, waiting: dict[int, bool]) -> str:
    every, direct = oid_array(waiting), oid_array(oid for oid, hidden in waiting.items() if not hidden)
    commands = literal(_COMMANDS[search.verb])
    rules = "true" if search.verb != "SELECT" else "w.ev_type = '1'"
    defaults = "true" if search.verb in _WRITING_DEFAULTS else "a.attgenerated::text not in ('', 's')"
    return f"""
select t.caller, t.is_view,
  array(select distinct m.found[1] from pg_catalog.regexp_matches(t.tree, '{_FUNCTIONS}', 'g') as m (found)),
  array(select distinct m.found[1] from pg_catalog.regexp_matches(t.tree, '{_RELATIONS}', 'g') as m (found))
from (
  select pg_catalog.format('the view %I.%I', n.nspname, c.relname) as caller, true as is_view, w.ev_action::text as tree
  from pg_catalog.pg_rewrite as w join pg_catalog.pg_class as c on c.oid = w.ev_class
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  where c.oid = any ({every}) and {rules} and c.relkind <> 'm'
  union all
  select pg_catalog.format('the policy %I on %I.%I', p.polname, n.nspname, c.relname), false,
    pg_catalog.concat(p.polqual::text, p.polwithcheck::text)
  from pg_catalog.pg_policy as p join pg_catalog.pg_class as c on c.oid = p.polrelid
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  where c.oid = any ({every}) and c.relrowsecurity and pg_catalog.strpos({commands}, p.polcmd::text) > 0
    and (c.oid <> all ({direct}) or not {_is_exempt(search)} and {_applies(search)})
  union all
  select pg_catalog.format('the default of %I.%I.%I', n.nspname, c.relname, a.attname), false, d.adbin::text
  from pg_catalog.pg_attrdef as d join pg_catalog.pg_class as c on c.oid = d.adrelid
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute as a on a.attrelid = d.adrelid and a.attnum = d.adnum
  where c.oid = any ({every}) and {defaults}
) as t"""


def _is_exempt(search: _Search) -> str:
    role = search.role_oid
    return f"""(not c.relforcerowsecurity and pg_catalog.pg_has_role({role}::oid, c.relowner, 'USAGE')
      or exists (select from pg_catalog.pg_roles as r where r.oid = {role} and (r.rolsuper or r.rolbypassrls)))"""


def _applies(search: _Search) -> str:
    return f"""exists (select from pg_catalog.unnest(p.polroles) as m (oid)
      where m.oid = 0 or pg_catalog.pg_has_role({search.role_oid}::oid, m.oid, 'USAGE'))"""


def _behind_functions(search: _Search, path: Sequence[str]) -> dict[int, bool]:
    """Look up the functions noted since the last time; return the relations that their bodies name."""
    new = search.callers.keys() - search.found.keys()
    found: dict[int, bool] = {}
    rows = search.ask(_functions(search, new)) if new else []
    for oid in new - {int(row[0]) for row in rows}:  # dropped meanwhile
        del search.callers[oid]
    for oid, signature, may_execute, is_builtin, is_volatile, sets_role, is_read, *body in rows:
        leaves_role = sets_role or (is_builtin and _ROLE_LEAVING.match(signature) is not None)
        if is_read:
            relations, sets_role = _inside(search, f"the function {signature}", path, *body)
            found |= dict.fromkeys(relations, False)
            leaves_role |= sets_role
        caller = search.callers[int(oid)]
        search.found[int(oid)] = CalledFunction(signature, caller, may_execute, is_builtin, is_volatile, leaves_role)
    return found


def _inside(
    search: _Search,
    caller: str,
    path: Sequence[str],
    language: str,
    source: str,
    own_path: str | None,
    tree: Sequence[str],
    relations: Sequence[str],
) -> tuple[list[int], bool]:
    """Note the functions that a body calls; return the relations that it names, and whether it may leave the role."""
    search.call(map(int, tree), caller)
    mentions = _READERS[language](source) if language in _READERS else None
    if mentions is None:
        search.unread.append(f"{caller} ({language})")
        return [*map(int, relations)], False
    places = path if own_path is None else path_names(own_path)
    return [*map(int, relations), *_resolve(search, mentions, places, caller)], mentions.leaves_role


def _functions(search: _Search, oids: Iterable[int]) -> str:
    # What a SECURITY DEFINER function calls, it calls as its owner.
    tree = "p.prosqlbody::text" if search.server_version >= 140_000 else "null"
    return f"""
select p.oid::text, p.oid::pg_catalog.regprocedure::text,
  pg_catalog.has_function_privilege({search.role_oid}::oid, p.oid, 'EXECUTE'), n.nspname = 'pg_catalog', p.provolatile = 'v',
  exists (select from pg_catalog.unnest(p.proconfig) as s (text) where s.text ~ '^(role|session_authorization)='),
  n.nspname <> 'pg_catalog' and (l.lanname not in ('c', 'internal') or p.prokind = 'a') and not p.prosecdef,
  case when p.prokind = 'a' then 'aggregate' else l.lanname end,
  case l.lanname when 'plpgsql' then pg_catalog.pg_get_functiondef(p.oid) when 'sql' then p.prosrc else '' end,
  (select pg_catalog.substr(s.text, 13) from pg_catalog.unnest(p.proconfig) as s (text)
    where pg_catalog.starts_with(s.text, 'search_path=')),
  array(select distinct m.found[1] from pg_catalog.regexp_matches({tree}, '{_FUNCTIONS}', 'g') as m (found)),
  array(select distinct m.found[1] from pg_catalog.regexp_matches({tree}, '{_RELATIONS}', 'g') as m (found))
from pg_catalog.pg_proc as p join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
join pg_catalog.pg_language as l on l.oid = p.prolang
where p.oid = any ({oid_array(oids)})"""


def _plpgsql_mentions(definition: str) -> Mentions | None:
    try:
        queries = _queries(parser.parse_plpgsql_json(definition))
    except (parser.ParseError, RecursionError):
        return None
    if queries is None:
        return None
    read = [mentions_of(query) or mentions_of(f"select {_value(query)}") for query in queries]
    return merged(mentions for mentions in read if mentions) if all(read) else None


def _value(query: str) -> str:
    """Return the right side of an assignment, or the expression as it stands."""
    return query.partition(":=")[2] or query


def _queries(text: str) -> list[str] | None:
    """Return the queries of a parsed body; None where it puts some together at run time."""
    if any(word in text for word in _DYNAMIC):
        return None
    found, waiting = [], [json.loads(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting.extend(value for key, value in node.items() if key != "query")
            found += [node["query"]] if isinstance(node.get("query"), str) else []
        elif isinstance(node, list):
            waiting.extend(node)
    return found


_READERS: Mapping[str, Callable[[str], Mentions | None]] = {"sql": mentions_of, "plpgsql": _plpgsql_mentions}


def _resolve(search: _Search, mentions: Mentions, path: Sequence[str], caller: str) -> list[int]:
    """Note the functions that these names may mean along the path; return the relations they do mean."""
    places = f"array[{', '.join(map(literal, [*path, 'pg_catalog']))}]"
    relations = [int(row[0]) for row in search.ask(relations_named(mentions, places))] if mentions.relations else []
    queries = [functions_named(mentions, places)] if mentions.functions else []
    queries += [operators_named(mentions, places)] if mentions.operators else []
    queries += [attributes_named(mentions, relations)] if mentions.attributes and relations else []
    for query in queries:
        search.call((int(row[0]) for row in search.ask(query)), caller)
    return relations
