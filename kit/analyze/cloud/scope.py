"""What of the cloud evidence is in force: the services' templates, where rows stand, and what commands could not see."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from kit.evidence.model import Frames
from kit.evidence.records import records

Record = Mapping[str, Any]
Row = tuple[int, dict[str, Any]]


def rows_of(frames: Frames, name: str) -> list[Row]:
    """Return the rows of an evidence with their positions; none where it was not given."""
    return list(enumerate(records(frames[name]))) if name in frames else []


def in_force(frames: Frames, name: str) -> list[Row]:
    """Return the rows of `name` that speak of what is deployed: a service's template, not its former revisions.

    Where only revisions were exported, the newest of each service stands for it.
    """
    owners = owners_in_force(frames)
    return [(at, row) for at, row in rows_of(frames, name) if owners.get(row["service_name"], "?") == row["revision_name"]]


def owners_in_force(frames: Frames) -> dict[str | None, str | None]:
    """Return each service with the revision that stands for it; None for the service's own template."""
    newest: dict[str | None, str | None] = {}
    for _, row in sorted(rows_of(frames, "revisions"), key=lambda item: (str(item[1]["created_at"] or ""), item[0])):
        newest[row["service_name"]] = row["revision_name"]
    return newest | {row["service_name"]: None for _, row in rows_of(frames, "services")}


def serving(frames: Frames) -> set[str]:
    """Return the revisions that take traffic, and the latest that was created of each service."""
    shares = {row["revision_name"] for _, row in rows_of(frames, "traffic") if row["percent"]}
    latest = {row["latest_created_revision"] for _, row in rows_of(frames, "services")}
    return {name for name in shares | latest if name}


def place(row: Record, *path: str) -> str:
    """Return the file and the JSON pointer that decided, as `(service.json /spec/template)`; empty where unknown."""
    if row.get("file") is None:
        return ""
    below = "".join(f"/{part}" for part in path)
    return f"({row['file']} {row.get('pointer') or ''}{below})".replace(" )", ")")


def versions_of(frames: Frames, wanted: Record) -> list[dict[str, Any]]:
    """Return the versions of the secret that a service wants; of its project alone, where a secret of another has the name."""
    found = [row for _, row in rows_of(frames, "secret_versions") if row["secret_name"] == wanted["secret_name"]]
    own = [row for row in found if row["secret_project"] == wanted["secret_project"]]
    return own or found


def refused(frames: Frames, command: str, resource: str | None = None) -> Row | None:
    """Return the failed command of that name, and about that resource where one is named."""
    for at, row in rows_of(frames, "cloud_commands"):
        fits = resource is None or (row["resource_name"] or "").rpartition("/")[2] == resource
        if row["code"] is not None and command in (row["command"] or "") and fits:
            return at, row
    return None


def was_asked(frames: Frames, command: str, resource: str) -> Row | None:
    """Return the command of that name about that resource which was answered."""
    asked = rows_of(frames, "cloud_commands")
    return next(
        (
            (at, row)
            for at, row in asked
            if row["code"] is None and row["command"] == command and row["resource_name"] == resource
        ),
        None,
    )


def name_of(row: Record) -> str:
    """Return the service that a row speaks of."""
    return str(row["service_name"] or "unnamed service")


def gcloud(*words: str) -> str:
    """Return a gcloud command as a shell takes it."""
    return shlex.join(("gcloud", *words))
