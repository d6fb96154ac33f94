"""What the server asks about besides the relation that is named: views, policies, functions, defaults, partitions."""

from __future__ import annotations

from psycopg import sql

from tests.random_catalog import Catalog
from tests.random_changes import add_changes, filled

COUNTED = 11
CONDITIONS = (
    "true",
    "false",
    "a > 10",
    "{f}(a)",
    "exists (select from {other})",
    "exists (select from {other} as x where x.b = a)",
    "a in (select a from {other})",
)
VIEWS = (
    "select a, b from {base}",
    "select a, b from {base} where a > 0",
    "select a, b from {base} where {g}(a)",
    "select b as a, a as b from {base}",
    "select a, (select count(*)::int from {other}) as b from {base}",
    "select x.a, y.b from {base} as x join {other} as y using (a)",
    "select count(*)::int as a, max(b)::int as b from {base}",
    "with c as (select a from {other}) select a, a as b from {base} where a in (select a from c)",
    "select a, b from {base} where exists (select x from {other} as x where x is not null)",
    "select a, b, {h}(a) as d from {base}",
    "select a, {h}(b)::int as b from {base} where a in (select a from {other})",
    "select distinct a, b from {base}",
    "select x.a, y.b from {base} as x left join {other} as y using (a)",
    "select a, b from {base} union all select a, b from {other}",
    "select a, max(b) as b from {base} group by a having {g}(a) order by 1",
)
# One row of these for each row of their base.
ROW_BY_ROW = frozenset({0, 1, 2, 3, 4, 9})
CHECKABLE = frozenset({0, 1, 2, 3, 4, 8, 9, 10})
Name = tuple[str, str]


def extend(catalog: Catalog) -> dict[Name, Name]:
    """Add the statements; return for each view and table whose rows can be counted the table that has them."""
    chance, tables = catalog.chance, []
    for schema in catalog.schemas:
        _functions(catalog, schema)
        tables += [_table(catalog, schema, number) for number in range(3)]
    relations = list(tables)
    bases = {name: name for name in tables}
    for number, schema in enumerate(catalog.schemas * 2):
        base, other = chance.choice(relations), chance.choice(relations)
        relations.append(_view(catalog, (schema, f"view {number}"), base, other, bases))
    views = [name for name in relations if name[1].startswith("view") and name not in catalog.stored]
    add_changes(catalog, tables, views)
    for name in tables:
        _defaults(catalog, name)
        if chance.random() < 0.6:
            _policies(catalog, name, relations)
    catalog.add("alter role {} bypassrls", catalog.roles[5])
    return bases


def _functions(catalog: Catalog, schema: str) -> None:
    for name, volatility, body in (
        ("f", "stable", "$1 > 10"),
        ("g", "immutable", "$1 is not null"),
        ("h", "immutable", "$1 > 7"),
    ):
        kind = "boolean language sql" if name != "h" else "boolean language plpgsql"
        text = f"select {body}" if name != "h" else f"begin return {body}; end"
        verb = f"create function {{}}.{{}}(int) returns {kind} {volatility} as '{text}'"
        catalog.add(verb, schema, name)
        catalog.add("alter function {}.{} owner to {}", schema, name, catalog.chance.choice(catalog.roles))
        if catalog.chance.random() < 0.4:
            catalog.add("revoke execute on function {}.{} from public", schema, name)
            catalog.grant_randomly("function {}.{}", ("execute",), (schema, name), 4)


def _table(catalog: Catalog, schema: str, number: int) -> Name:
    name, chance = (schema, f"uses {number}"), catalog.chance
    column = chance.choice(("c int", "c serial", "c int generated always as identity"))
    if chance.random() < 0.2:
        catalog.add("create table {}.{} (a int, b int, c int) partition by range (a)", *name)
        catalog.add("create table {}.{} partition of {}.{} default", schema, f"part {number}", *name)
        _given(catalog, (schema, f"part {number}"))
        catalog.partitioned.add(name)
    else:
        catalog.add(f"create table {{}}.{{}} (a int, b int, {column})", *name)
    catalog.add(f"insert into {{}}.{{}} (a, b) select g, g from generate_series(5, {COUNTED + 4}) as g", *name)
    _given(catalog, name)
    return name


def _given(catalog: Catalog, name: Name, kind: str = "table") -> None:
    """Give the relation an owner and grants, also on columns, and take some back, from the owner too."""
    chance, owner = catalog.chance, catalog.chance.choice(catalog.roles)
    catalog.add(f"alter {kind} {{}}.{{}} owner to {{}}", *name, owner)
    catalog.grant_randomly("{}.{}", ("select", "insert", "update, delete", "all"), name, 6)
    for privilege in ("select (a)", "select (b)", "update (a)", "update (b)", "insert (a)", "select (a, b)"):
        if chance.random() < 0.15 and kind != "materialized view":
            verb = sql.SQL(f"grant {privilege} on {{}}.{{}} to ").format(*map(sql.Identifier, name))
            catalog.statements.append(verb + catalog.anyone())
    if chance.random() < 0.25:
        catalog.add(f"revoke {chance.choice(('all', 'select', 'update, insert'))} on {{}}.{{}} from {{}}", *name, owner)


def _view(catalog: Catalog, name: Name, base: Name, other: Name, bases: dict[Name, Name]) -> Name:
    chance = catalog.chance
    shape = chance.randrange(len(VIEWS)) if base != other else chance.randrange(3)
    # Filled as its maker, who could not read through a view whose owner may not.
    is_stored = chance.random() < 0.2 and base[1].startswith("uses") and other[1].startswith("uses")
    invoker = " with (security_invoker = true)" if catalog.version >= 15 and not is_stored and chance.random() < 0.4 else ""
    kind = "materialized view" if is_stored else "view"
    options = invoker + (" with (security_barrier = true)" if not invoker and not is_stored and chance.random() < 0.1 else "")
    body = filled(catalog, VIEWS[shape], base=base, other=other)
    catalog.statements.append(sql.SQL(f"create {kind} {{}}.{{}}{options} as ").format(*map(sql.Identifier, name)) + body)
    if shape in CHECKABLE and not is_stored and base[1].startswith("uses") and chance.random() < 0.3:
        catalog.add(f"alter view {{}}.{{}} set (check_option = {chance.choice(('local', 'cascaded'))})", *name)
    _given(catalog, name, kind)
    if is_stored:
        catalog.stored.add(name)
    if shape in ROW_BY_ROW and base in bases and not is_stored and shape != 4:
        bases[name] = bases[base]
    return name


def _defaults(catalog: Catalog, name: Name) -> None:
    chance = catalog.chance
    additions = (
        "add column d boolean default {f}(1)",
        "add check ({g}(a))",
        "alter column b set default length({f}(1)::text)",
        "add column e int default nextval({sequence}::regclass)",
    )
    for addition in chance.sample(additions, chance.randrange(3)):
        if "sequence" in addition:
            catalog.add("create sequence {}.{}", name[0], f"seq {name[1]}")
            _owned(catalog, "sequence", (name[0], f"seq {name[1]}"))
        verb = sql.SQL("alter table {}.{} ").format(*map(sql.Identifier, name))
        catalog.statements.append(verb + filled(catalog, addition, sequence=(name[0], f"seq {name[1]}")))


def _owned(catalog: Catalog, kind: str, name: Name) -> None:
    catalog.add(f"alter {kind} {{}}.{{}} owner to {{}}", *name, catalog.chance.choice(catalog.roles))
    catalog.grant_randomly(f"{kind} {{}}.{{}}", ("usage", "update", "select"), name, 4)


def _policies(catalog: Catalog, name: Name, relations: list[Name]) -> None:
    chance = catalog.chance
    catalog.add("alter table {}.{} enable row level security", *name)
    if chance.random() < 0.3:
        catalog.add("alter table {}.{} force row level security", *name)
    for number in range(chance.randrange(6)):
        command = chance.choice(("all", "select", "select", "insert", "update", "delete"))
        sort = "restrictive" if chance.random() < 0.2 else "permissive"
        start = sql.SQL(f"create policy {{}} on {{}}.{{}} as {sort} for {command} to ")
        clauses = [part for part in ("using", "with check") if _is_for(part, command)]
        if len(clauses) == 2 and chance.random() < 0.5:
            clauses = clauses[:1]
        conditions = [
            sql.SQL(f" {clause} (") + filled(catalog, chance.choice(CONDITIONS), other=chance.choice(relations)) + sql.SQL(")")
            for clause in clauses
        ]
        whom = sql.SQL("public") if chance.random() < 0.5 else sql.Identifier(chance.choice(catalog.roles))
        catalog.statements.append(
            sql.Composed([start.format(sql.Identifier(f"policy {number}"), *map(sql.Identifier, name)), whom, *conditions])
        )


def _is_for(clause: str, command: str) -> bool:
    return command != "insert" if clause == "using" else command in ("all", "insert", "update")
