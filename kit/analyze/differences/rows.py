"""Two sides' rows of one topic against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from kit.analyze.differences.books import Book, Key, Parent, Record, itself, parents, relation_of
from kit.analyze.differences.left_out import LEFT_OUT_COLUMNS, LEFT_OUT_FRAMES
from kit.analyze.differences.model import Difference, Found
from kit.analyze.differences.topics import MASKED, Aspect, Topic
from kit.analyze.exposure import PUBLIC
from kit.analyze.findings import quoted

ONE_SIDED = "part of what only one side has"
OTHER_NAME = "the same under another name"


def compare_topic(topic: Topic, a: Book, b: Book, lacking: Collection[Parent], wanted: str | None = None) -> Found:
    """Return in what the rows of a topic differ.

    `lacking` is what only one side has, and what hangs on it is not told again; the relation of the name `wanted` is.
    """
    found = Found()
    reason = _gap(topic, a, b)
    if reason is not None:
        return found if reason == "" else _not_compared(topic, reason)
    ours, theirs = a.rows(topic), b.rows(topic)
    found.not_compared += [(layer, reason) for layer, reason in _partial(topic, a, b)]
    renamed = _renamed(topic, ours, theirs)
    for key in dict.fromkeys((*ours, *theirs)):
        if key not in renamed:
            sides = ours.get(key), theirs.get(key)
            is_wanted = topic.kind == "relation" and wanted is not None and key[-1] == wanted
            _compare(found, topic, sides, (a, b), () if is_wanted else lacking)
    found.equal[_layer(topic, {}), topic.plural] += len(renamed) // 2
    if not ours and not theirs:
        found.equal[_layer(topic, {}), topic.plural] += 0
    return found


def one_sided(topics: Iterable[Topic], a: Book, b: Book) -> frozenset[Parent]:
    """Return the roles, schemas, relations, columns and functions that only one side has."""
    found: set[Parent] = set()
    for topic in topics:
        if topic.is_whole and _gap(topic, a, b) is None:
            sides = [{itself(topic, row) for row in book.rows(topic).values()} for book in (a, b)]
            found |= {name for name in sides[0] ^ sides[1] if name is not None}
    return frozenset(found)


def left_out_counts(topics: Sequence[Topic], a: Book, b: Book) -> Counter[str]:
    """Return how many values differ that cannot matter, by reason: columns of compared rows, and whole frames."""
    counts: Counter[str] = Counter()
    for topic in {topic.frame: topic for topic in reversed(topics)}.values():
        used = {aspect.column for other in topics if other.frame == topic.frame for aspect in other.aspects} | {*topic.key}
        ours, theirs = a.rows(topic), b.rows(topic)
        for key in ours.keys() & theirs.keys():
            for column, value in ours[key].items():
                reason = LEFT_OUT_COLUMNS.get(column)
                if reason and column not in used and value != theirs[key].get(column):
                    counts[reason] += 1
    for frame, reason in LEFT_OUT_FRAMES.items():
        rows = [Counter(map(repr, book.records(frame))) for book in (a, b)]
        counts[reason] += max((rows[0] - rows[1]).total(), (rows[1] - rows[0]).total())
    return +counts


def _gap(topic: Topic, a: Book, b: Book) -> str | None:
    """Return why the topic cannot be compared, None where it can, and nothing where neither side speaks of it."""
    gaps = [book.gap(topic) for book in (a, b)]
    if gaps == [None, None]:
        return None
    if all(topic.frame not in book.frames.gaps and gap is not None for book, gap in zip((a, b), gaps, strict=True)):
        return ""
    told = [f"{side}: {gap.rstrip('.')}" for side, gap in zip("AB", gaps, strict=True) if gap is not None]
    # A secret that is not there is no gap: the command that said so is compared.
    return "" if any(gap and "NOT_FOUND" in gap for gap in gaps) else f"{topic.plural} ({'; '.join(told)})"


def _not_compared(topic: Topic, reason: str) -> Found:
    return Found(not_compared=[(_layer(topic, {}), reason)])


def _partial(topic: Topic, a: Book, b: Book) -> list[tuple[Any, str]]:
    partial = [side for side, book in zip("AB", (a, b), strict=True) if book.is_partial(topic)]
    return [(_layer(topic, {}), f"{topic.plural} that were not seen ({' and '.join(partial)})")] if partial else []


def _layer(topic: Topic, row: Mapping[str, Any]) -> Any:
    if not callable(topic.layer) or row:
        return topic.layer_of(row)
    return "configuration"


def _compare(
    found: Found, topic: Topic, sides: tuple[Record | None, Record | None], books: tuple[Book, Book], lacking: Collection[Parent]
) -> None:
    one, other = sides
    row: Record = one or other or {}
    if (one is None or other is None) and not _is_told(found, topic, row, books, lacking, is_in_a=other is None):
        return
    layer = _layer(topic, row)
    aspects = [aspect for aspect in topic.aspects if one and other and value_of(aspect, one) != value_of(aspect, other)]
    skipped = [reason for side in sides if side and topic.skip and (reason := topic.skip(side))]
    differs = bool(aspects) or one is None or other is None
    reason = skipped[0] if skipped else topic.skip_pair(one, other) if differs and topic.skip_pair else None
    if reason:
        found.left_out[reason] += differs
    elif differs:
        found.differences.append(_difference(topic, layer, row, sides, aspects))
    elif one and other and _is_masked(topic, one) and _is_masked(topic, other):
        found.not_compared.append((layer, f"{topic.plural} whose values are masked"))
    else:
        found.equal[layer, topic.plural] += 1


def _is_told(
    found: Found, topic: Topic, row: Record, books: tuple[Book, Book], lacking: Collection[Parent], *, is_in_a: bool
) -> bool:
    """Return whether it is a difference that only one side has this row: not where it hangs on another, or may be hidden."""
    if not topic.is_whole or books[is_in_a].is_partial(topic):
        return False
    if any(parent in lacking for parent in parents(topic, row, books[not is_in_a])):
        found.left_out[ONE_SIDED] += 1
        return False
    return True


def _difference(
    topic: Topic, layer: Any, row: Record, sides: tuple[Record | None, Record | None], aspects: Sequence[Aspect]
) -> Difference:
    a, b = (_side(topic, side, aspects) for side in sides)
    grantee = (row["grantee_name"] or PUBLIC,) if "grantee_name" in topic.key else ()
    about = (*(str(row[column]) for column in topic.key if column in _OBJECT), *grantee)
    return Difference(layer, topic.kind, subject(topic, row), a, b, topic.why, relation_of(topic, row), about)


def _side(topic: Topic, row: Record | None, aspects: Sequence[Aspect]) -> str:
    if row is None:
        return topic.absent
    if aspects:
        return ", ".join(worded(aspect, row) for aspect in aspects)
    shown = [aspect for aspect in topic.aspects if aspect.column in topic.shown]
    told = [worded(aspect, row) for aspect in shown] or [value_words(row[column]) for column in topic.shown if column in row]
    return ", ".join(part for part in told if part) or "there"


def subject(topic: Topic, row: Mapping[str, Any]) -> str:
    """Return what a row is about, as SQL writes names, with what tells it from its neighbours."""
    words = _WORDS | _WORDS_OF.get(topic.frame, {})
    rest = [words.get(column, "{}").format(_name(row[column], column)) for column in topic.key if _speaks(row, column)]
    return " ".join(part for part in (place(topic, row), *rest) if part)


def place(topic: Topic, row: Mapping[str, Any]) -> str:
    """Return the object that a row is about as SQL names it; empty where it is about none."""
    names = [str(row[column]) for column in topic.key if column in _PLACE and row[column] is not None]
    return ".".join(map(quoted, names)) + (f"({row['arguments'] or ''})" if "arguments" in topic.key else "")


_PLACE = (
    "schema_name", "relation_name", "table_name", "column_name", "function_name", "type_name", "index_name", "constraint_name",
)  # fmt: skip
_OBJECT = ("database_name", *_PLACE, "arguments")
_SILENT = (*_PLACE, "arguments")
_WORDS = {
    "grantee_name": "to {}",
    "creator_name": "of what {} creates",
    "object_kind": "on each {}",
    "member_name": "{} in",
    "calls": "calling {}",
    "view_schema": "by {}",
}
_WORDS_OF = {"role_settings": {"role_name": "of {}", "database_name": "in {}"}}
# Values that are no identifiers of SQL, or are written as such already.
_PLAIN = frozenset({"database_name", "setting_name", "migration_name", "flag_name", "connection_name", "resource_name", "calls"})


def _speaks(row: Mapping[str, Any], column: str) -> bool:
    return column not in _SILENT and (row[column] is not None or column == "grantee_name")


def _name(value: Any, column: str) -> str:
    if value is None:
        return "PUBLIC"
    return quoted(str(value)) if column.endswith("_name") and column not in _PLAIN else str(value)


def worded(aspect: Aspect, row: Mapping[str, Any]) -> str:
    """Return an aspect of a row in words, such as `type text` or `not null`."""
    value = row[aspect.column]
    if isinstance(value, bool):
        return aspect.yes if value else aspect.no or f"not {aspect.yes}"
    return " ".join(part for part in (aspect.yes, value_words(value_of(aspect, row))) if part)


def value_words(value: Any) -> str:
    """Return a value in words."""
    if value is None or value == ():
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return f"{value:,}" if isinstance(value, int) else str(value)


def value_of(aspect: Aspect, row: Mapping[str, Any]) -> Any:
    """Return an aspect's value as it is compared: lists in order only where their order has a meaning."""
    value = row[aspect.column]
    if not isinstance(value, list):
        return value
    return tuple(value) if aspect.is_ordered else tuple(sorted({str(item) for item in value}))


def _is_masked(topic: Topic, row: Record) -> bool:
    return any(isinstance(row[a.column], str) and MASKED in row[a.column] for a in topic.aspects)


def _renamed(topic: Topic, ours: Mapping[Key, Record], theirs: Mapping[Key, Record]) -> set[Key]:
    """Return the keys of both sides whose things are the same but for their names."""
    if not topic.alike:
        return set()
    left = _by_likeness(topic, [(key, row) for key, row in ours.items() if key not in theirs])
    right = _by_likeness(topic, [(key, row) for key, row in theirs.items() if key not in ours])
    pairs = [pair for like in left.keys() & right.keys() for pair in zip(left[like], right[like], strict=False)]
    return {key for pair in pairs for key in pair}


def _by_likeness(topic: Topic, rows: Iterable[tuple[Key, Record]]) -> dict[Key, list[Key]]:
    found: dict[Key, list[Key]] = {}
    for key, row in rows:
        # What is not in the evidence, an expression or a condition, cannot be said to be the same.
        if not row.get("is_partial") and not row.get("has_expressions"):
            like = tuple(str(row[column]) for column in topic.alike)
            found.setdefault((row["schema_name"], row["table_name"], *like), []).append(key)
    return {like: sorted(keys) for like, keys in found.items()}
