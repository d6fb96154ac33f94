"""Random statements over a few tables, that the server accepts: every column named is there and unambiguous."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from kit.analyze.findings import quoted

TABLES = {
    ("app", "orders"): ("id", "customer_id", "note", "total"),
    ("app", "customers"): ("id", "name", "email"),
    ("app", "lines"): ("order_id", "product", "quantity"),
    ("app", "name"): ("name", "rank"),
    ("public", "Odd Table"): ("Id", "select"),
}
Sources = dict[str, tuple[str, ...]]
_PLAIN = ("orders", "customers", "lines")


@dataclass
class Writer:
    """Writes statements at random that the server accepts: every column named is there and unambiguous."""

    chance: random.Random
    aliases: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))
    is_shared: bool = False

    def statement(self) -> str:
        write = self.chance.choice((self.select, self.select, self.select, self.update, self.delete, self.insert))
        self.is_shared = self.chance.random() < 0.3
        common = f"with shared (c) as ({self.select(2)}) " if self.is_shared else ""
        return common + write()

    def select(self, depth: int = 0, around: Sources | None = None) -> str:
        text, sources = self.joined(depth, around)
        order = f" order by {self.column(sources)}" if self.chance.random() < 0.3 else ""
        # The server locks no outer join's nullable side.
        lock = " for update" if not depth and "left join" not in text and self.chance.random() < 0.15 else ""
        columns = ", ".join(f"{self.column(sources)} as c{n}" for n in range(self.chance.randint(1, 3)))
        return f"select {columns} from {text}{self.where(sources, depth, around)}{order}{lock}"

    def joined(self, depth: int, around: Sources | None) -> tuple[str, Sources]:
        text, sources = self.source(depth, around)
        for _ in range(self.chance.choice((0, 0, 1, 1, 2))):
            more, columns = self.source(depth, around)
            both = sources | columns
            shared = self.shared(sources, columns)
            if shared and self.chance.random() < 0.5:
                text = f"{text} join {more} using ({self.chance.choice(shared)})"
            else:
                text = f"{text} left join {more} on {self.compared(both)}"
            sources = both
        return text, sources

    def shared(self, left: Sources, right: Sources) -> list[str]:
        names = [[name for columns in side.values() for name in columns] for side in (left, right)]
        return [name for name in names[0] if names[0].count(name) == 1 == names[1].count(name) and name == "id"]

    def source(self, depth: int, around: Sources | None) -> tuple[str, Sources]:
        alias = f"t{next(self.aliases)}"
        if depth < 2 and self.chance.random() < 0.25:
            lateral = self.chance.random() < 0.3
            return f"{'lateral ' * lateral}({self.select(depth + 1, around)}) as {alias}(c)", {alias: ("c",)}
        if self.is_shared and depth < 2 and self.chance.random() < 0.3:
            return f"shared as {alias}", {alias: ("c",)}
        schema, name = self.chance.choice(list(TABLES))
        written = quoted(name) if self.chance.random() < 0.5 or schema == "public" else f"{schema}.{quoted(name)}"
        return f"{written} as {alias}", {alias: TABLES[schema, name]}

    def column(self, sources: Sources, can_be_alone: bool = True) -> str:
        alias = self.chance.choice(list(sources))
        name = self.chance.choice(sources[alias])
        is_alone = sum(name in columns for columns in sources.values()) == 1
        written = quoted(name) if can_be_alone and is_alone and self.chance.random() < 0.5 else f"{alias}.{quoted(name)}"
        return self.chance.choice((written, written, f"coalesce({written}::text, 'x')", f"{alias}::text"))

    def compared(self, sources: Sources, can_be_alone: bool = True) -> str:
        return f"{self.column(sources, can_be_alone)}::text = {self.column(sources, can_be_alone)}::text"

    def where(self, sources: Sources, depth: int, around: Sources | None) -> str:
        drawn = self.chance.random()
        if drawn < 0.3:
            return f" where {self.compared(sources)}"
        if drawn < 0.5 and depth < 2:
            return f" where exists ({self.select(depth + 1, sources | (around or {}))})"
        return f" where {self.compared(around, can_be_alone=False)}" if drawn < 0.7 and around else ""

    def changed(self) -> tuple[str, str, Sources]:
        name, alias = self.chance.choice(_PLAIN), f"t{next(self.aliases)}"
        return name, f"{name} as {alias}", {alias: TABLES["app", name]}

    def update(self) -> str:
        name, text, target = self.changed()
        other, more = self.source(1, None)
        column = self.chance.choice([found for found in TABLES["app", name] if found in ("note", "name", "product", "email")])
        value = self.chance.choice(("'x'", f"{self.column(target | more)}::text"))
        return f"update {text} set {column} = {value} from {other}{self.where(target | more, 1, None)}{self.returned(target)}"

    def delete(self) -> str:
        _, text, target = self.changed()
        return f"delete from {text}{self.where(target, 0, None)}{self.returned(target)}"

    def insert(self) -> str:
        name, text, target = self.changed()
        column = self.chance.choice([found for found in TABLES["app", name] if found in ("note", "name", "product", "email")])
        source, columns = self.source(1, None)
        key = "id, " if name == "orders" else ""
        values = f"select {'1, ' if key else ''}{self.column(columns)}::text from {source}"
        return f"insert into {text} ({key}{column}) {values}{self.returned(target)}"

    def returned(self, target: Sources) -> str:
        return self.chance.choice(("", "", f" returning {next(iter(target))}.{next(iter(target.values()))[0]}", " returning *"))
