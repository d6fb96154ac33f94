"""What `kit expect` does: an expected schema against a target, for a role; made to be run before traffic is shifted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kit.analyze.access import privileges
from kit.analyze.access.catalog import WANTED, Catalog
from kit.analyze.schema import actual, usability
from kit.analyze.schema.comparison import NOT_EXAMINED, Difference, compare, to_frame
from kit.analyze.schema.dump import Script, read_dump
from kit.analyze.schema.expected import ExpectedSchema
from kit.analyze.schema.file import parse_file
from kit.case.collecting import collected
from kit.case.sources import database_source
from kit.errors import CaptureError, ParameterError
from kit.evidence.model import Frames, Source
from kit.target import resolve

DIFFERENT, UNSEEN = 1, 3
FILE_BYTES = 64_000_000
SHOWN = 40
_ROLE_EVIDENCE = (*privileges.NEEDS, *WANTED, "settings", "session")
# What a migration tool keeps to go back: run, it would take away again what is expected.
_BACKWARD = re.compile(r"(^|[._-])(down|undo|rollback)\.sql$|^U\d.*__.*\.sql$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: the frame of differences, a record for programs, words for people, the exit status (0, 1 or 3)."""

    frame: pd.DataFrame
    record: dict[str, Any]
    words: str
    status: int


def expect(target: str, role: str | None, schema: Path | None, like: str | None = None, source: str | None = None) -> Answer:
    """Return what is not as expected, and what the role cannot use; 3 where nothing is wrong but not all was seen.

    Without a schema and a target to be like, what the target's kit.toml names as `expected_schema` is expected.

    ParameterError where the expectation cannot be read or expects nothing; CaptureError where the target to be like
    was not reached.
    """
    place = resolve(target)
    expected = expected_by(schema or (place.expected_schema if like is None else None), like)
    wanted = (*actual.NEEDS, *(["indexes"] if expected.has_indexes else []), *(_ROLE_EVIDENCE if role else ()))
    found = database_source(collected(place, only=tuple(dict.fromkeys(wanted))), source)
    missing = [name for name in wanted if name not in found.evidence and name not in ("indexes", *WANTED, "settings")]
    if "columns" not in found.evidence or missing:
        differences = [Difference("evidence", NOT_EXAMINED, f"Nothing was compared: {_reason(found, missing)}.")]
    else:
        differences = _differences(Frames(found), expected, role)
    return _answer(place.name, expected, role, differences)


def expected_by(schema: Path | None, like: str | None = None) -> ExpectedSchema:
    """Return what a TOML file, a dump, a folder of migrations or a second target says should be there."""
    if (schema is None) == (like is None):
        raise ParameterError("One thing must say what is expected.", "Give --schema FILE, or --like TARGET.")
    found = _of_target(like) if like is not None else _of_file(schema) if schema is not None else ExpectedSchema("")
    if not (found.relations or found.extensions or found.unread):
        # A gate that compares nothing would always be open.
        raise ParameterError(f"{found.origin} expects no table and no extension.", "Name the file that creates the tables.")
    return found


def _of_file(path: Path) -> ExpectedSchema:
    if path.is_dir():
        if (path / "manifest.json").is_file():
            raise ParameterError(f"{path.name} is a bundle, not a folder of migrations.", f"Compare with it: --like {path}")
        return read_dump(_migrations(path), path.name)
    text = _text(path)
    return parse_file(text, path.name) if path.suffix == ".toml" else read_dump([Script(path.name, text)], path.name)


def _migrations(folder: Path) -> Iterable[Script]:
    files = [path for path in folder.rglob("*.sql") if path.is_file() and not _BACKWARD.search(path.name)]
    for path in sorted(files, key=lambda path: _in_order(str(path.relative_to(folder)))):
        yield Script(str(path.relative_to(folder)), _text(path))


def _in_order(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which V2 comes before V10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _text(path: Path) -> str:
    hint = "Name a TOML file, a dump (pg_dump --schema-only) or a folder of migrations."
    try:
        if path.stat().st_size > FILE_BYTES:
            raise ParameterError(f"{path.name} is larger than {FILE_BYTES:,} bytes.", "Dump with --schema-only.")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}.", hint) from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path} is not UTF-8 text.", "Dump in the plain format: pg_dump --schema-only.") from None


def _of_target(like: str) -> ExpectedSchema:
    place = resolve(like)
    found = database_source(collected(place, only=(*actual.NEEDS, "indexes", "extension_relations")), None)
    missing = [name for name in actual.NEEDS if name not in found.evidence]
    if missing:
        raise CaptureError(f"The schema of {place.name} did not come: {_reason(found, missing)}.", "See that it can be reached.")
    return actual.expected_of(Frames(found), place.name)


def _reason(source: Source, missing: Sequence[str]) -> str:
    attempts = source.evidence.get("connection")
    failed = [] if attempts is None else [str(text).rstrip(".") for text in attempts.frame["message"].dropna()]
    reasons = failed or [source.gaps[name].reason for name in missing if name in source.gaps] or ["not captured"]
    return "; ".join(dict.fromkeys(reasons))


def _differences(frames: Frames, expected: ExpectedSchema, role: str | None) -> list[Difference]:
    if role is None:
        return compare(frames, expected)
    catalog = Catalog(frames)
    absent = usability.missing_role(catalog, role)
    if absent:
        return [absent, *compare(frames, expected)]
    path, there = usability.role_path(catalog, role), actual.Actual(frames)
    found = compare(frames, expected, path, there)
    return [*found, *usability.usability(catalog, expected, role, path if path is not None else _visible(frames), there)]


def _visible(frames: Frames) -> Sequence[str]:
    return frames.identity.visible_schemas if frames.identity else ()


def _answer(target: str, expected: ExpectedSchema, role: str | None, found: Sequence[Difference]) -> Answer:
    unseen = [difference for difference in found if difference.difference == NOT_EXAMINED]
    status = DIFFERENT if len(unseen) < len(found) else UNSEEN if unseen else 0
    frame, counts = to_frame(found), _counts(expected)
    record = {
        "target": target,
        "role": role,
        "expected_from": expected.origin,
        "status": {0: "as expected", DIFFERENT: "different", UNSEEN: NOT_EXAMINED}[status],
        "expected": counts,
        "differences": _records(d for d in found if d.difference != NOT_EXAMINED),
        "not_examined": [difference.because for difference in unseen],
        "notes": list(expected.notes),
    }
    return Answer(frame, record, _words(record, found), status)


def _records(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    return [{name: getattr(item, name) for name in Difference.__slots__} for item in differences]


def _counts(expected: ExpectedSchema) -> dict[str, int]:
    return {
        "tables": len(expected.relations),
        "columns": sum(len(relation.columns) for relation in expected.relations),
        "indexes": sum(len(relation.indexes) for relation in expected.relations),
        "extensions": len(expected.extensions),
    }


def sentences(differences: Iterable[Difference]) -> list[str]:
    """Return each difference as a sentence, its remedy on a line of its own."""
    mended = ((difference.because, difference.remedy) for difference in differences)
    return [because + (f"\n  Remedy: {remedy.replace(chr(10), chr(10) + '  ')}" if remedy else "") for because, remedy in mended]


def _words(record: dict[str, Any], found: Sequence[Difference]) -> str:
    counts = ", ".join(f"{number} {noun if number != 1 else _ONE[noun]}" for noun, number in record["expected"].items() if number)
    whom = f", for role {record['role']}" if record["role"] else ", for no role (--as names one)"
    head = f"{record['status'].upper()}: {record['target']} against {record['expected_from']} ({counts}){whom}."
    told = [f"- {sentence}" for sentence in sentences(found[:SHOWN])]
    more = [f"… and {len(found) - SHOWN} more (--json prints all)"] if len(found) > SHOWN else []
    notes = [f"Note: {note}." for note in record["notes"][:SHOWN]]
    return "\n".join([head, *told, *more, *notes])


_ONE = {"tables": "table", "columns": "column", "indexes": "index", "extensions": "extension"}
