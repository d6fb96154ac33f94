"""Cloud exports: a folder of the JSON files that gcloud prints, each known by its shape and not by its name.

Read are `gcloud run services describe|list`, `run revisions list` (Knative v1, and the v2 shape of REST and
Terraform), `projects get-iam-policy`, `projects get-ancestors-iam-policy`, `sql instances describe`, `sql users list`,
`secrets versions list`, `secrets get-iam-policy` and `logging read`, all with `--format=json`, and the `commands.json` of
`kit cloud collect`. Only three names matter: a secret's own policy is `secret-iam-policy-<SECRET>.json`, that of an
instance's project, where it is not the service's own, `iam-policy-<PROJECT>.json`, and an empty list is of what its name
says. Nothing is stripped or mended: a carriage return at the end of an instance's name is the evidence. Files are read in
`files`; what a value of an environment variable may tell is in `values`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from kit.collect.cloud.files import CloudFile, read_folder
from kit.collect.cloud.frames import EVIDENCE, FRAMES, FrameSpec
from kit.collect.cloud.nodes import Node
from kit.collect.cloud.rows import ROWS
from kit.collect.logs import audit_tables, log_queries, run_log_query
from kit.collect.secrecy import Secrecy
from kit.errors import KitError, MissingTier
from kit.evidence.columns import build_frame
from kit.evidence.model import Evidence, Gap, Provenance, Source

# The command whose refusal says why a kind of item is not there.
_COMMANDS = {
    "service": "run services",
    "revision": "run revisions",
    "policy": "get-iam-policy",
    "instance": "sql instances",
    "database user": "sql users",
    "secret version": "secrets versions",
    "audit entry": "logging",
    "log entry": "logging",
}
_NOT_SEEN = ("PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_ENABLED")


def collect_cloud(folder: Path, started_at: datetime | None = None, secrecy: Secrecy | None = None) -> Source:
    """Return what the files in `folder` tell, as the frames of `kit.collect.cloud.frames` and audit_changes.

    The evidence's time is when the oldest of its files was written, and `started_at` (or now) at the latest: what is
    in the files carries no time of its own. A file that cannot be used is a
    gap under its name, and so is an evidence for which no file was given. Raises TargetError without a folder.
    """
    at = started_at or datetime.now(UTC)
    files = read_folder(folder)
    evidence: dict[str, Evidence] = {}
    gaps = {file.name: file.gap for file in files if file.gap is not None}
    for name, found in _collected(files, at):
        if isinstance(found, Gap):
            gaps[name] = found
        else:
            evidence[name] = found
    _leave_out_the_needless(evidence, gaps)
    return (secrecy or Secrecy()).source(_source(evidence, gaps))


def not_given(reason: str) -> Source:
    """Return the source of exports that are not there: every evidence of it is a gap."""
    gap = Gap(kind="not given", reason=reason)
    return _source({}, dict.fromkeys(EVIDENCE, gap))


def _source(evidence: Mapping[str, Evidence], gaps: Mapping[str, Gap]) -> Source:
    return Source(name="cloud", kind="cloud", vantage="exports", evidence=evidence, gaps=gaps)


def _collected(files: Sequence[CloudFile], at: datetime) -> Iterator[tuple[str, Evidence | Gap]]:
    for spec in FRAMES:
        yield spec.name, _frame(spec, files, at)
    yield "audit_changes", _audit_changes(files, at)


def _frame(spec: FrameSpec, files: Sequence[CloudFile], at: datetime) -> Evidence | Gap:
    used = [file for file in files if file.holds(spec.kinds)]
    if not used and spec.name == "cloud_commands":
        # That no command failed is told by any file that was read.
        used = [file for file in files if file.items or file.empty_kinds]
    if not used:
        return _not_given(spec.plural, spec.kinds[0], files)
    started = time.perf_counter()
    rows = {_key(row, spec.key_columns): row for file in used for item in _of(file, spec.kinds) for row in ROWS[spec.name](item)}
    return _evidence(spec, list(rows.values()), used, at, started)


def _evidence(
    spec: FrameSpec, rows: Sequence[tuple[Any, ...]], used: Sequence[CloudFile], at: datetime, started: float
) -> Evidence:
    frame = build_frame(spec.columns, rows)
    return Evidence(frame, spec.columns, _provenance(spec.title, spec.grain, used, at, started, len(frame)))


def _key(row: tuple[Any, ...], columns: int) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in row[:columns])


def _of(file: CloudFile, kinds: Sequence[str]) -> Iterator[Node]:
    return (item for kind, item in file.items if kind in kinds)


def _leave_out_the_needless(evidence: dict[str, Evidence], gaps: dict[str, Gap]) -> None:
    """Make an evidence empty that nobody missed: of instances or secrets where no service names any."""
    for specs, named in ((_OF_INSTANCES, _names_an_instance(evidence)), (_OF_SECRETS, _names_a_secret(evidence))):
        for spec in specs if named is False else ():
            if spec.name in gaps and gaps[spec.name].kind == "not given":
                about = evidence["instance_references"].provenance.model_copy(update={"title": spec.title, "grain": spec.grain})
                evidence[spec.name] = Evidence(build_frame(spec.columns, []), spec.columns, about)
                del gaps[spec.name]


_OF_INSTANCES = tuple(spec for spec in FRAMES if spec.name.startswith("sql_"))
_OF_SECRETS = tuple(spec for spec in FRAMES if spec.name == "secret_versions")


def _names_an_instance(evidence: Mapping[str, Evidence]) -> bool | None:
    if "instance_references" not in evidence:
        return None
    shown = evidence["environment"].frame["shown_value"].dropna()
    shapes = evidence["environment"].frame["value_shape"]
    in_values = bool(shown.str.contains("/cloudsql/").any()) or bool((shapes == "instance name").any())
    return in_values or len(evidence["instance_references"].frame) > 0


def _names_a_secret(evidence: Mapping[str, Evidence]) -> bool | None:
    return len(evidence["secret_references"].frame) > 0 if "secret_references" in evidence else None


def _audit_changes(files: Sequence[CloudFile], at: datetime) -> Evidence | Gap:
    started, used = time.perf_counter(), [file for file in files if file.holds(("audit entry",))]
    if not used:
        return _not_given("audit log entries", "audit entry", files)
    entries = [item.value for file in used for item in _of(file, ("audit entry",))]
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


def _not_given(plural: str, kind: str, files: Sequence[CloudFile]) -> Gap:
    refused = [item for file in files for item in _of(file, ("command",)) if _refuses(item, kind)]
    if refused:
        code, words = refused[0].text("code"), f"gcloud {refused[0].text('name')}: {refused[0].text('code')}"
        return Gap(kind="not permitted" if code in _NOT_SEEN else "failed", reason=f"no file of {plural}: {words}")
    unread = [file.name for file in files if file.gap is not None and not file.items]
    also = f"; not read: {', '.join(unread)}" if unread else ""
    return Gap(kind="not given", reason=f"no file of {plural} in the folder{also}")


def _refuses(command: Node, kind: str) -> bool:
    return command.text("code") is not None and _COMMANDS.get(kind, "") in (command.text("name") or "")


def _provenance(title: str, grain: str, used: Sequence[CloudFile], at: datetime, started: float, rows: int) -> Provenance:
    return Provenance(
        title=title,
        grain=grain,
        text=", ".join(file.name for file in used),
        text_sha256=_hash(file.content for file in used),
        at=min([at, *(file.written_at for file in used if file.written_at)]),
        seconds=round(time.perf_counter() - started, 6),
        rows=rows,
    )


def _hash(contents: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()
