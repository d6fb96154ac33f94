"""The files of a folder of exports, its sub-folders too: what each holds, known by its shape, or why it cannot be used."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.collect.cloud.failures import refusal, told
from kit.collect.cloud.nodes import Node
from kit.collect.cloud.shapes import KINDS, kind_of, location_of, own_name, service_of
from kit.errors import TargetError
from kit.evidence.model import Gap

MAXIMUM_FILE_BYTES = 512 * 1024 * 1024
# What an empty list is a list of, where the file's name says so; the first that fits.
_NAMED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("revision", ("revision",)),
    ("service", ("service",)),
    ("version", ("secret version",)),
    ("user", ("database user",)),
    ("audit", ("audit entry",)),
    ("error", ("log entry",)),
    ("log", ("audit entry", "log entry")),
)
# A folder for each service or project is usual; a whole home folder is a slip.
_DEPTH, _MOST_BELOW = 3, 1000
# What gcloud says besides its answer, where `2>&1` put both into the file.
_BEFORE = re.compile(r"\A\s*(?:(?:WARNING: |Your active configuration is: |To suppress |Updates are available )[^\n]*\n\s*)+")
_AFTER = re.compile(r"\s*Listed \d+ items?\.\s*\Z")
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"))


@dataclass(frozen=True, slots=True)
class CloudFile:
    """One file of the folder: its items by kind, or why there are none."""

    name: str
    content: bytes = b""
    items: tuple[tuple[str, Node], ...] = ()
    empty_kinds: tuple[str, ...] = ()
    gap: Gap | None = None
    written_at: datetime | None = None

    def holds(self, kinds: Sequence[str]) -> bool:
        """Return whether it has items of one of these kinds, or is an empty list of them."""
        return any(kind in kinds for kind in self.empty_kinds) or any(found in kinds for found, _ in self.items)


def read_folder(folder: Path) -> list[CloudFile]:
    """Return the files of the folder and the JSON files below it, by name; TargetError where it cannot be read."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        hint = "Name a folder of files that gcloud wrote with --format=json."
        raise TargetError(f"The folder of cloud exports {folder} cannot be read: {error.strerror}.", hint) from error
    below = sorted(_below(folder))
    found = [_of(folder, path) for path in (*paths, *below[:_MOST_BELOW])]
    if len(below) > _MOST_BELOW:
        reason = f"the sub-folders hold {len(below)} JSON files, of which {_MOST_BELOW} were read"
        found.append(CloudFile("the sub-folders", gap=Gap(kind="failed", reason=reason)))
    return list(_without_twins(found))


def _below(folder: Path) -> Iterator[Path]:
    for place, names, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        names[:] = [name for name in names if not name.startswith(".") and depth < _DEPTH]
        if depth:
            yield from (Path(place, name) for name in files if name.endswith(".json") and not name.startswith("."))


def _of(folder: Path, path: Path) -> CloudFile:
    name = _printable(path.relative_to(folder).as_posix())
    return replace(_read(path, name), written_at=_written_at(path))


def _without_twins(files: Iterable[CloudFile]) -> Iterator[CloudFile]:
    """Yield the files; one that holds a second service of a name says so, for only one of a name is judged."""
    seen: dict[tuple[str, str | None, str | None], tuple[str | None, str | None]] = {}
    for file in files:
        gap = file.gap
        for kind, item in file.items if gap is None else ():
            if kind not in ("service", "revision"):
                continue
            place, key = location_of(item), (kind, service_of(item), own_name(item))
            if gap is None and _differ(place, seen.setdefault(key, place)):
                words = f"holds a second {kind} {key[2]} ({place[0]}): give each region and project a folder of its own"
                gap = Gap(kind="failed", reason=f"{file.name} {words}")
        yield replace(file, gap=gap)


def _differ(place: Sequence[str | None], other: Sequence[str | None]) -> bool:
    return any(left is not None and right is not None and left != right for left, right in zip(place, other, strict=True))


def _written_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return datetime.now(UTC)


def _read(path: Path, name: str) -> CloudFile:
    try:
        if path.stat().st_size > MAXIMUM_FILE_BYTES:
            return _refused(name, "failed", f"is larger than {MAXIMUM_FILE_BYTES // 1024**2} MiB")
        content = path.read_bytes()
    except OSError as error:
        return _refused(name, "failed", f"cannot be read: {error.strerror}")
    try:
        # Bytes, not text: json finds UTF-16 by itself, which is what PowerShell's `>` writes.
        return _sorted(name, content, json.loads(content, parse_constant=_no_number))
    except (ValueError, RecursionError):
        return _not_json(name, content)


def _not_json(name: str, content: bytes) -> CloudFile:
    text = _text(content)
    command = refusal(text)
    if command is not None:
        # Only gcloud's own refusal is quoted: any other text might be somebody's .env file.
        gap = Gap(kind="failed", reason=f"{name} holds gcloud's refusal: {told(command['words'])[:300]}")
        item = ("command", Node(command, name))
        # That a thing is not there is an answer, not a gap.
        return CloudFile(name, content, (item,), gap=None if command["code"] == "NOT_FOUND" else gap)
    try:
        return _sorted(name, content, json.loads(_AFTER.sub("", _BEFORE.sub("", text)), parse_constant=_no_number))
    except (ValueError, RecursionError):
        empty = "is empty: the command that should have filled it printed nothing"
        return _refused(name, "failed", "is not JSON, or was cut short" if text.strip() else empty)


def _text(content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding, "replace")


def _refused(name: str, kind: Any, reason: str) -> CloudFile:
    return CloudFile(name, gap=Gap(kind=kind, reason=f"{name} {reason}"))


def _printable(name: str) -> str:
    # A name that is no UTF-8 would not fit into a manifest.
    return name.encode("utf-8", "replace").decode("utf-8")


def _sorted(name: str, content: bytes, value: Any) -> CloudFile:
    wrapper, items = _unwrapped(Node(value, name))
    kinds = [kind_of(item.value) for item in items]
    known = tuple((kind, item) for kind, item in zip(kinds, items, strict=True) if kind in KINDS)
    if not items:
        words = f"{name.rpartition('/')[2]} {wrapper}".lower()
        empty_kinds = next((kinds for part, kinds in _NAMED if part in words), ())
        return CloudFile(name, content, empty_kinds=empty_kinds, gap=None if empty_kinds else _gap_of_nothing(name))
    return CloudFile(name, content, known, gap=_gap_of_strangers(name, kinds))


def _unwrapped(file: Node) -> tuple[str, list[Node]]:
    """Return the items of a file, and the key they stand under where a list is wrapped in an object."""
    for key in ("items", "services", "revisions", "entries"):
        if isinstance(file.at(key).value, list):
            return key, file.items(key)
    return "", file.items() if isinstance(file.value, list) else [file]


def _gap_of_nothing(name: str) -> Gap:
    return Gap(kind="unsupported", reason=f"{name} holds an empty list, and its name does not say of what")


def _gap_of_strangers(name: str, kinds: Sequence[str]) -> Gap | None:
    strange = [kind for kind in kinds if kind not in KINDS]
    if not strange:
        return None
    what = ", ".join(sorted(set(strange)))
    reason = f"{name} holds {len(strange)} of {len(kinds)} items that are not read: {what}"
    return Gap(kind="unsupported", reason=reason)


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
