"""Bundles: a capture on disk, as Parquet files and a manifest that proves nothing was altered."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from kit.errors import BundleError, EvidenceMismatch
from kit.evidence.columns import Column, conform, pandas_dtype
from kit.evidence.model import Capture, Cost, Evidence, Gap, Identity, Provenance, Record, Source, SourceKind

FORMAT = 1
MANIFEST = "manifest.json"


class ColumnEntry(Record):
    """A declared column as the manifest keeps it."""

    name: str
    dtype: str
    unit: str | None = None
    data_class: str = "metadata"
    mask: str | None = None


class EvidenceEntry(Record):
    """One Parquet file of the bundle: its columns, its provenance and its hash."""

    name: str
    file: str
    sha256: str
    columns: list[ColumnEntry]
    provenance: Provenance


class SourceEntry(Record):
    """One source of the bundle."""

    name: str
    kind: SourceKind
    vantage: str
    identity: Identity | None
    evidence: list[EvidenceEntry]
    gaps: dict[str, Gap]


class Manifest(Record):
    """The manifest of a bundle; `digest` is the SHA-256 of all the rest of it."""

    format: int
    kit_version: str
    target: str
    started_at: datetime
    finished_at: datetime
    cost: Cost
    sources: list[SourceEntry]
    digest: str


def save(capture: Capture, folder: Path) -> str:
    """Write `capture` as the new folder `folder` (mode 0700), whole or not at all; return its digest.

    Raises BundleError when the folder exists or the disk does not take it.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists already.", "A capture is never replaced: name another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BundleError(f"{folder} cannot be made: {error.strerror}.", "Name a folder you may write to.") from error
    try:
        digest = _write(capture, aside)
        aside.rename(folder)
    except OSError as error:
        raise BundleError(f"The bundle could not be written: {error.strerror}.", "Free some space; capture again.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return digest


def load(folder: Path) -> Capture:
    """Return the capture kept in `folder`; raises BundleError if it is altered, truncated or of a later format."""
    manifest = _read_manifest(folder)
    sources = tuple(_load_source(folder, entry) for entry in manifest.sources)
    return Capture(
        target=manifest.target,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        kit_version=manifest.kit_version,
        sources=sources,
        cost=manifest.cost,
        digest=manifest.digest,
    )


def copy(folder: Path, target: Path) -> None:
    """Copy a bundle byte by byte into the new folder `target` (mode 0700), so that its digest stays what it was.

    Only what the manifest names is copied. Raises BundleError as `load` does, and OSError where there is no room.
    """
    manifest = _read_manifest(folder)
    files = [entry.file for source in manifest.sources for entry in source.evidence]
    target.mkdir(mode=0o700, parents=True)
    for name in (MANIFEST, *files):
        (target / name).parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(folder / name, target / name)


def is_bundle(folder: Path) -> bool:
    """Return whether `folder` looks like a bundle: its manifest names sources."""
    try:
        return "sources" in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _write(capture: Capture, folder: Path) -> str:
    sources = [_write_source(source, folder) for source in capture.sources]
    content = {
        "format": FORMAT,
        "kit_version": capture.kit_version,
        "target": capture.target,
        "started_at": capture.started_at,
        "finished_at": capture.finished_at,
        "cost": capture.cost,
        "sources": sources,
    }
    manifest = Manifest.model_validate({**content, "digest": ""})
    digest = _digest(manifest.model_dump(mode="json"))
    text = manifest.model_copy(update={"digest": digest}).model_dump_json(indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return digest


def _write_source(source: Source, folder: Path) -> SourceEntry:
    (folder / source.name).mkdir(mode=0o700)
    entries = [_write_evidence(source.name, name, evidence, folder) for name, evidence in source.evidence.items()]
    return SourceEntry(
        name=source.name,
        kind=source.kind,
        vantage=source.vantage,
        identity=source.identity,
        evidence=entries,
        gaps=dict(source.gaps),
    )


def _write_evidence(source: str, name: str, evidence: Evidence, folder: Path) -> EvidenceEntry:
    file = f"{source}/{name}.parquet"
    table = pa.Table.from_pandas(evidence.frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), folder / file, compression="zstd")
    columns = [ColumnEntry(**{key: getattr(c, key) for key in ColumnEntry.model_fields}) for c in evidence.columns]
    return EvidenceEntry(name=name, file=file, sha256=_sha256(folder / file), columns=columns, provenance=evidence.provenance)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{folder} holds no readable {MANIFEST}: {error.strerror}.", "Name a bundle's folder.") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not whole: {error}.", "Copy the bundle again from where it was made.") from error
    _check_format(content, path)
    if _digest(content) != content.get("digest"):
        raise BundleError(f"{path} was altered after the capture.", "Use the bundle as it was captured.")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(f"{path} is not a bundle's manifest ({error.error_count()} faults).") from error


def _check_format(content: Any, path: Path) -> None:
    found = content.get("format") if isinstance(content, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise BundleError(f"{path} is not a bundle's manifest.", "Name the folder that `kit capture` wrote.")
    if found > FORMAT:
        raise BundleError(f"{path} is of format {found}; this kit reads up to {FORMAT}.", "Update incident-kit.")


def _load_source(folder: Path, entry: SourceEntry) -> Source:
    evidence = {item.name: _load_evidence(folder, item) for item in entry.evidence}
    return Source(entry.name, entry.kind, entry.vantage, entry.identity, evidence, entry.gaps)


def _load_evidence(folder: Path, entry: EvidenceEntry) -> Evidence:
    path = folder / entry.file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"The manifest names a file outside the bundle: {entry.file!r}.")
    content = _content(path, entry.sha256)
    try:
        columns = tuple(Column(**column.model_dump()) for column in entry.columns)
        frame = conform(_read_parquet(content), columns)
    # Arrow raises OSError too, for a file that was whole when it was hashed and yet is none of Parquet.
    except (pa.ArrowException, OSError, EvidenceMismatch) as error:
        raise BundleError(f"{path} cannot be read: {error}.", "Copy the bundle again.") from error
    return Evidence(frame, columns, entry.provenance)


def _content(path: Path, sha256: str) -> bytes:
    """Return the file, read once: what was hashed is what is used."""
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.", "Copy the bundle again.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BundleError(f"{path} is missing or was altered after the capture.", "Use the bundle as it was captured.")
    return content


def _read_parquet(content: bytes) -> pd.DataFrame:
    return pq.read_table(pa.BufferReader(content)).to_pandas(ignore_metadata=True, types_mapper=pandas_dtype)


def _digest(content: dict[str, Any]) -> str:
    kept = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
