"""The records of an expected schema. What is None was not said, and is not compared."""

from __future__ import annotations

from dataclasses import dataclass

from kit.analyze.findings import quoted
from kit.analyze.schema.types import Spelling


@dataclass(frozen=True, slots=True)
class ExpectedColumn:
    """A column by its exact name. `fills_itself`: it takes a value of its own (default, identity, sequence, generated)."""

    name: str
    type: Spelling | None = None
    is_not_null: bool | None = None
    fills_itself: bool = False
    is_generated: bool = False


@dataclass(frozen=True, slots=True)
class ExpectedIndex:
    """An index by what it is made of; a column None is an expression. `name` finds one of expressions."""

    columns: tuple[str | None, ...]
    is_unique: bool = False
    method: str = "btree"
    is_partial: bool = False
    name: str | None = None

    @property
    def written(self) -> str:
        """Return the index as the file writes it: `unique (email)`, `gin (tags)`."""
        columns = ", ".join("<expression>" if column is None else quoted(column) for column in self.columns)
        words = ("unique" if self.is_unique else "", self.method if self.method != "btree" else "", f"({columns})")
        return " ".join([word for word in words if word] + (["where …"] if self.is_partial else []))


@dataclass(frozen=True, slots=True)
class Use:
    """An action that the service does; `columns` None: with every expected column."""

    action: str
    columns: tuple[str, ...] | None = None


READING = (Use("SELECT"),)


@dataclass(frozen=True, slots=True)
class ExpectedRelation:
    """A table or view by its exact name; `schema` None: where the search_path of whoever asks finds it.

    `is_whole` says that the expectation knows every column, so that another one may be in the way.
    """

    schema: str | None
    name: str
    kind: str | None = None
    columns: tuple[ExpectedColumn, ...] = ()
    indexes: tuple[ExpectedIndex, ...] = ()
    uses: tuple[Use, ...] = READING
    is_whole: bool = False

    @property
    def qualified(self) -> str:
        """Return the name as SQL writes it."""
        return ".".join(quoted(part) for part in (self.schema, self.name) if part is not None)


@dataclass(frozen=True, slots=True)
class ExpectedExtension:
    """An extension, with the oldest version that does."""

    name: str
    since: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedSchema:
    """All that is expected. `unread` names, in words, what of the origin could not be read and so is not compared.

    `notes` are what was left out on purpose.
    """

    origin: str
    relations: tuple[ExpectedRelation, ...] = ()
    extensions: tuple[ExpectedExtension, ...] = ()
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_indexes(self) -> bool:
        """Return whether any index is expected: reading them opens each once."""
        return any(relation.indexes for relation in self.relations)
