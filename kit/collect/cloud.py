"""Cloud exports: a folder of the JSON files that gcloud prints, each known by its shape and not by its name.

Read are `gcloud run services describe|list`, `gcloud run revisions list` (Knative v1, and the v2 shape of REST and
Terraform), `gcloud … get-iam-policy` and `gcloud logging read`, all with `--format=json`. Nothing is stripped or
mended: a carriage return at the end of an instance's name is the evidence. The values of environment variables
and secrets are never looked at.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from kit.collect.gcloud import KINDS, Rows, binding_rows, kind_of, revision_rows, service_rows, traffic_rows
from kit.collect.logs import audit_tables, log_queries, run_log_query
from kit.collect.secrecy import Secrecy
from kit.errors import KitError, MissingTier, TargetError
from kit.evidence.columns import Column, Dtype, build_frame
from kit.evidence.model import Evidence, Gap, Provenance, Source

MAXIMUM_FILE_BYTES = 512 * 1024 * 1024
# What an empty list is a list of, where the file's name says so.
_NAMED = {"revision": "revision", "service": "service", "log": "audit entry", "audit": "audit entry"}


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the folder: its items by kind, or why there are none."""

    name: str
    content: bytes = b""
    items: tuple[tuple[str, Any], ...] = ()
    empty_kind: str | None = None
    gap: Gap | None = None
    written_at: datetime | None = None

    def holds(self, kind: str) -> bool:
        return self.empty_kind == kind or any(found == kind for found, _ in self.items)


@dataclass(frozen=True, slots=True)
class _Frame:
    """One evidence of this source: the kind of item it is made of, and how an item becomes rows."""

    name: str
    kind: str
    plural: str
    title: str
    grain: str
    columns: tuple[Column, ...]
    rows: Callable[[Any, str], Rows]
    key_columns: int


def collect_cloud(folder: Path, started_at: datetime | None = None, secrecy: Secrecy | None = None) -> Source:
    """Return what the files in `folder` tell: services, traffic, revisions, iam_bindings and audit_changes.

    The evidence's time is when the oldest of its files was written, and `started_at` (or now) at the latest: what is
    in the files carries no time of its own. A file that cannot be used is a
    gap under its name, and so is an evidence for which no file was given. Raises TargetError without a folder.
    """
    at = started_at or datetime.now(UTC)
    files = _read_folder(folder)
    evidence: dict[str, Evidence] = {}
    gaps = {file.name: file.gap for file in files if file.gap is not None}
    for name, found in _collected(files, at):
        if isinstance(found, Gap):
            gaps[name] = found
        else:
            evidence[name] = found
    return (secrecy or Secrecy()).source(_source(evidence, gaps))


def not_given(reason: str) -> Source:
    """Return the source of exports that are not there: every evidence of it is a gap."""
    gap = Gap(kind="not given", reason=reason)
    return _source({}, {**{spec.name: gap for spec in _FRAMES}, "audit_changes": gap})


def _source(evidence: Mapping[str, Evidence], gaps: Mapping[str, Gap]) -> Source:
    return Source(name="cloud", kind="cloud", vantage="exports", evidence=evidence, gaps=gaps)


def _collected(files: Sequence[_File], at: datetime) -> Iterator[tuple[str, Evidence | Gap]]:
    for spec in _FRAMES:
        yield spec.name, _frame(spec, files, at)
    yield "audit_changes", _audit_changes(files, at)


def _frame(spec: _Frame, files: Sequence[_File], at: datetime) -> Evidence | Gap:
    started, used = time.perf_counter(), [file for file in files if file.holds(spec.kind)]
    if not used:
        return _not_given(spec.plural, files)
    rows = {
        row[: spec.key_columns]: row
        for file in used
        for kind, item in file.items
        if kind == spec.kind
        for row in spec.rows(item, file.name)
    }
    frame = build_frame(spec.columns, rows.values())
    return Evidence(frame, spec.columns, _provenance(spec.title, spec.grain, used, at, started, len(frame)))


def _audit_changes(files: Sequence[_File], at: datetime) -> Evidence | Gap:
    started, used = time.perf_counter(), [file for file in files if file.holds("audit entry")]
    if not used:
        return _not_given("audit log entries", files)
    entries = [item for file in used for kind, item in file.items if kind == "audit entry"]
    try:
        query, frame = log_queries()["audit_changes"], _changes(entries)
    except MissingTier as error:
        return Gap(kind="unsupported", reason=str(error))
    except KitError as error:
        return Gap(kind="failed", reason=str(error))
    return Evidence(frame, query.columns, _provenance(query.title, query.grain, used, at, started, len(frame)))


def _changes(entries: list[Any]) -> pd.DataFrame:
    # A file is small enough to be taken whole; a window is for a store that bills what it scans.
    since, until = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
    return run_log_query("audit_changes", audit_tables(entries), since, until)


def _not_given(plural: str, files: Sequence[_File]) -> Gap:
    unread = [file.name for file in files if file.gap is not None and not file.items]
    also = f"; not read: {', '.join(unread)}" if unread else ""
    return Gap(kind="not given", reason=f"no file of {plural} in the folder{also}")


def _provenance(title: str, grain: str, used: Sequence[_File], at: datetime, started: float, rows: int) -> Provenance:
    return Provenance(
        title=title,
        grain=grain,
        text=", ".join(file.name for file in used),
        text_sha256=hashlib.sha256(b"".join(file.content for file in used)).hexdigest(),
        at=min([at, *(file.written_at for file in used if file.written_at)]),
        seconds=round(time.perf_counter() - started, 6),
        rows=rows,
    )


def _read_folder(folder: Path) -> list[_File]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        hint = "Name a folder of files that gcloud wrote with --format=json."
        raise TargetError(f"The folder of cloud exports {folder} cannot be read: {error.strerror}.", hint) from error
    return [replace(_read(path), written_at=_written_at(path)) for path in paths]


def _written_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return datetime.now(UTC)


def _read(path: Path) -> _File:
    try:
        if path.stat().st_size > MAXIMUM_FILE_BYTES:
            return _refused(path, "unsupported", f"is larger than {MAXIMUM_FILE_BYTES // 1024**2} MiB")
        content = path.read_bytes()
    except OSError as error:
        return _refused(path, "failed", f"cannot be read: {error.strerror}")
    try:
        # Bytes, not text: json finds UTF-16 by itself, which is what PowerShell's `>` writes.
        return _sorted(path, content, json.loads(content, parse_constant=_no_number))
    except (ValueError, RecursionError):
        return _refused(path, "failed", _why_not_json(content))


def _why_not_json(content: bytes) -> str:
    # Only gcloud's own refusal is quoted: any other text might be somebody's .env file.
    if not content.strip():
        return "is empty: the command that should have filled it printed nothing"
    if content.startswith(b"ERROR: (gcloud"):
        return f"holds gcloud's refusal: {content.splitlines()[0][:300].decode('utf-8', 'replace')}"
    return "is not JSON, or was cut short"


def _refused(path: Path, kind: Any, reason: str) -> _File:
    return _File(_name_of(path), gap=Gap(kind=kind, reason=f"{_name_of(path)} {reason}"))


def _name_of(path: Path) -> str:
    # A name that is no UTF-8 would not fit into a manifest.
    return path.name.encode("utf-8", "replace").decode("utf-8")


def _sorted(path: Path, content: bytes, value: Any) -> _File:
    wrapper, items = _unwrapped(value)
    kinds = [kind_of(item) for item in items]
    known = tuple((kind, item) for kind, item in zip(kinds, items, strict=True) if kind in KINDS)
    if not items:
        name = f"{_name_of(path)} {wrapper}".lower()
        empty_kind = next((kind for part, kind in _NAMED.items() if part in name), None)
        return _File(_name_of(path), content, empty_kind=empty_kind, gap=None if empty_kind else _gap_of_nothing(path))
    return _File(_name_of(path), content, known, gap=_gap_of_strangers(path, kinds))


def _unwrapped(value: Any) -> tuple[str, list[Any]]:
    """Return the items of a file, and the key they stand under where a list is wrapped in an object."""
    for key in ("items", "services", "revisions", "entries"):
        if isinstance(value, dict) and isinstance(value.get(key), list):
            return key, list(value[key])
    return "", value if isinstance(value, list) else [value]


def _gap_of_nothing(path: Path) -> Gap:
    return Gap(kind="unsupported", reason=f"{_name_of(path)} holds an empty list, and its name does not say of what")


def _gap_of_strangers(path: Path, kinds: Sequence[str]) -> Gap | None:
    strange = [kind for kind in kinds if kind not in KINDS]
    if not strange:
        return None
    what = ", ".join(sorted(set(strange)))
    reason = f"{_name_of(path)} holds {len(strange)} of {len(kinds)} items that are not read: {what}"
    return Gap(kind="unsupported", reason=reason)


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _name(name: str) -> Column:
    return Column(name, "string", data_class="identifier")


def _fact(name: str, dtype: Dtype = "string", unit: str | None = None) -> Column:
    return Column(name, dtype, unit)


_INSTANCES = Column("cloudsql_instances", "list[string]", "connection names", "identifier")
_SERVICES = (
    _name("service_name"),
    _name("latest_created_revision"),
    _name("latest_ready_revision"),
    _name("service_account"),
    _name("url"),
    _fact("is_ready", "boolean"),
    Column("ready_message", "string", mask="message"),
    _INSTANCES,
)
_TRAFFIC = (_name("service_name"), _name("revision_name"), _fact("percent", "Int64", "percent of the requests"))
_REVISIONS = (
    _name("service_name"),
    _name("revision_name"),
    _fact("created_at", "datetime64[us, UTC]"),
    _fact("image"),
    _fact("image_digest"),
    _name("creator"),
    _fact("is_ready", "boolean"),
    _fact("ready_reason"),
    Column("ready_message", "string", mask="message"),
    _fact("ready_changed_at", "datetime64[us, UTC]"),
    _name("service_account"),
    _INSTANCES,
)
_BINDINGS = (_name("resource"), _name("role"), _name("member"), _fact("condition_title"))
_FRAMES = (
    _Frame("services", "service", "services", "Cloud Run services", "one row per service", _SERVICES, service_rows, 1),
    _Frame("traffic", "service", "services", "Traffic", "one row per target of a service", _TRAFFIC, traffic_rows, 3),
    _Frame("revisions", "revision", "revisions", "Revisions", "one row per revision", _REVISIONS, revision_rows, 2),
    _Frame(
        "iam_bindings",
        "policy",
        "IAM policies",
        "IAM bindings",
        "one row per member of a binding",
        _BINDINGS,
        binding_rows,
        4,
    ),
)
