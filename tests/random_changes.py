"""What a change brings along: triggers, foreign keys, generated columns; and views that check or that a trigger changes."""

from __future__ import annotations

from psycopg import sql

from tests.random_catalog import Catalog

Name = tuple[str, str]
WHENS = ("", " when (new.a > 10)", " when ({f}(new.a))", " when ({g}(1))")
EVENTS = ("insert", "update", "delete", "insert or update", "insert or update or delete")


def add_changes(catalog: Catalog, tables: list[Name], views: list[Name]) -> None:
    """Add them to some of these tables and views."""
    for number, name in enumerate(tables):
        if catalog.chance.random() < 0.25:
            _trigger(catalog, name, number)
        # Which keys a partition has from its parent is not in the evidence.
        if catalog.chance.random() < 0.15 and name not in catalog.partitioned:
            _key(catalog, name, catalog.chance.choice(tables), number)
        if catalog.chance.random() < 0.1:
            _generated(catalog, name)
    for number, name in enumerate(views):
        if catalog.chance.random() < 0.15:
            _instead(catalog, name, number)


def filled(catalog: Catalog, text: str, **names: Name) -> sql.Composed:
    schema = catalog.chance.choice(catalog.schemas)
    known: dict[str, sql.Composable] = {key: sql.Identifier(*name) for key, name in names.items() if key != "sequence"}
    known |= {key: sql.Identifier(schema, key) for key in "fgh"}
    if "sequence" in names:
        known["sequence"] = sql.Literal(sql.Identifier(*names["sequence"]).as_string(None))
    return sql.SQL(text).format(**known)


def _trigger(catalog: Catalog, name: Name, number: int) -> None:
    """Add a trigger that does nothing, or that writes another table as whoever changes this one."""
    chance = catalog.chance
    does_write = chance.random() < 0.1
    write = (
        sql.SQL("insert into {} (a) values (1); ").format(sql.Identifier(name[0], f"audit {number}"))
        if does_write
        else sql.SQL("")
    )
    if does_write:
        catalog.add("create table {}.{} (a int)", name[0], f"audit {number}")
        catalog.add("alter table {}.{} owner to {}", name[0], f"audit {number}", chance.choice(catalog.roles))
        catalog.grant_randomly("{}.{}", ("insert", "all"), (name[0], f"audit {number}"), 6)
    event = chance.choice(EVENTS)
    when = chance.choice(WHENS) if "delete" not in event else chance.choice((WHENS[0], WHENS[3]))
    function = sql.Identifier(name[0], f"trigger {number}")
    body = sql.SQL("create function {}() returns trigger language plpgsql as ").format(function)
    text = sql.SQL("begin {}return coalesce(new, old); end").format(write).as_string(None)
    catalog.statements.append(body + sql.Literal(text))
    if chance.random() < 0.3:
        catalog.statements.append(sql.SQL("revoke execute on function {} from public").format(function))
    start = sql.SQL(f"create trigger {{}} after {event} on {{}} for each row").format(
        sql.Identifier(f"trigger {number}"), sql.Identifier(*name)
    )
    catalog.statements.append(start + filled(catalog, when) + sql.SQL(" execute function {}()").format(function))
    if chance.random() < 0.2:
        catalog.add("alter table {}.{} disable trigger {}", *name, f"trigger {number}")


def _key(catalog: Catalog, name: Name, other: Name, number: int) -> None:
    """Add a foreign key that every row meets, to a table of its own."""
    target = (other[0], f"key {number}")
    catalog.add("create table {}.{} (a int primary key)", *target)
    catalog.add("insert into {}.{} select generate_series(0, 20)", *target)
    catalog.add("alter table {}.{} add foreign key (b) references {}.{}", *name, *target)
    owner = catalog.chance.choice(catalog.roles)
    catalog.add("alter table {}.{} owner to {}", *target, owner)
    if catalog.chance.random() < 0.5:
        catalog.add(f"revoke {catalog.chance.choice(('all', 'update', 'select'))} on {{}}.{{}} from {{}}", *target, owner)


def _generated(catalog: Catalog, name: Name) -> None:
    verb = sql.SQL("alter table {}.{} ").format(*map(sql.Identifier, name))
    column = "add column j boolean generated always as ({h}(a)) stored"
    catalog.statements.append(verb + filled(catalog, column))


def _instead(catalog: Catalog, name: Name, number: int) -> None:
    function = sql.Identifier(name[0], f"instead {number}")
    text = "begin return coalesce(new, old); end"
    catalog.statements.append(sql.SQL(f"create function {{}}() returns trigger language plpgsql as '{text}'").format(function))
    start = sql.SQL(
        f"create trigger {{}} instead of {catalog.chance.choice(EVENTS)} on {{}} for each row execute function {{}}()"
    )
    catalog.statements.append(start.format(sql.Identifier(f"instead {number}"), sql.Identifier(*name), function))
