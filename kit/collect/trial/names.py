"""The queries that find what a name means along a search_path. `places` is that path as an array in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kit.collect.trial.settings import literal
from kit.collect.trial.statement import Mentions


def path_names(text: str) -> tuple[str, ...]:
    """Return the names of a search_path, in order.

    >>> path_names('"$user", Public, "Odd, name"')
    ('$user', 'public', 'Odd, name')
    """
    return tuple(_path_name(part) for part in _split(text))


def _split(text: str) -> list[str]:
    parts, quoted = [""], False
    for letter in text:
        quoted ^= letter == '"'
        if letter == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _path_name(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()


def relations_named(mentions: Mentions, places: str) -> str:
    """Return the query for the relation that each name means, by the first schema of the path that has one."""
    rows = ", ".join(f"({_nullable(schema)}, {literal(name)})" for schema, name in sorted(mentions.relations, key=str))
    return f"""
select distinct on (m.schema_name, m.relation_name) c.oid::text
from (values {rows}) as m (schema_name, relation_name)
join pg_catalog.pg_class as c on c.relname::text = m.relation_name
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  and n.nspname::text = any (case when m.schema_name is null then {places} else array[m.schema_name] end)
order by m.schema_name, m.relation_name, pg_catalog.array_position({places}, n.nspname::text)"""


def functions_named(mentions: Mentions, places: str) -> str:
    """Return the query for every function that a call may mean: of that name, along the path, with as many arguments."""
    called = sorted(mentions.functions, key=str)
    rows = ", ".join(f"({_nullable(schema)}, {literal(name)}, {count})" for schema, name, count in called)
    return f"""
select distinct p.oid::text
from (values {rows}) as m (schema_name, function_name, argument_count)
join pg_catalog.pg_proc as p on p.proname::text = m.function_name
  and (p.provariadic <> 0 or m.argument_count between p.pronargs - p.pronargdefaults and p.pronargs)
join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
  and n.nspname::text = any (case when m.schema_name is null then {places} else array[m.schema_name] end)"""


def operators_named(mentions: Mentions, places: str) -> str:
    """Return the query for the functions behind operators of these names that are not the server's own."""
    names = ", ".join(map(literal, sorted(mentions.operators)))
    return f"""
select distinct o.oprcode::oid::text
from pg_catalog.pg_operator as o join pg_catalog.pg_namespace as n on n.oid = o.oprnamespace
where o.oprname::text in ({names}) and n.nspname <> 'pg_catalog' and n.nspname::text = any ({places})"""


def attributes_named(mentions: Mentions, relations: Sequence[int]) -> str:
    """Return the query for the functions that `x.name` may mean where x is a row of one of the relations."""
    names = ", ".join(map(literal, sorted(mentions.attributes)))
    return f"""
select distinct p.oid::text
from pg_catalog.pg_proc as p join pg_catalog.pg_class as c on c.reltype = p.proargtypes[0]
where p.pronargs = 1 and c.oid = any ({oid_array(relations)}) and p.proname::text in ({names})"""


def _nullable(name: str | None) -> str:
    return "null::text" if name is None else f"{literal(name)}::text"


def oid_array(oids: Iterable[int]) -> str:
    """Return OIDs as an array in SQL."""
    return f"array[{', '.join(map(str, oids))}]::oid[]"
