"""Collecting cloud exports for a case: what was asked for, the printed list, and a summary in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kit.collect.cloud.collecting import Collected, collect_exports
from kit.collect.cloud.commands import Asked, first_commands
from kit.errors import ParameterError

_WINDOW = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is told of a collection: in words, as a record, and whether everything could be looked at."""

    words: str
    record: dict[str, Any]
    complete: bool


def asked_for(
    project: str, services: Sequence[str], instances: Sequence[str], region: str | None, since: str | None, until: str | None
) -> Asked:
    """Return what is asked for; the window is the last seven days unless told. ParameterError where it cannot be understood."""
    for word in (project, *services, *instances, *([region] if region else [])):
        if not word or word.startswith("-") or not word.isprintable() or set(word) & set(" /\\\"'"):
            raise ParameterError(
                f"{word!r} is no name that gcloud could take.", "Give the name alone, such as --service session-api."
            )
    end = _moment(until, "--until") if until else datetime.now(UTC)
    begin = _moment(since, "--since") if since else end - _WINDOW
    return Asked(project, tuple(dict.fromkeys(services)), tuple(instances), region, begin, end)


def printed_list(asked: Asked) -> Summary:
    """Return the commands that are known before any answer; those about instances and secrets follow from the services."""
    lines = [f"{command.line} > {command.file}" for command in first_commands(asked)]
    return Summary("\n".join(lines), {"commands": lines}, complete=True)


def collected(asked: Asked, folder: Path, tell: Callable[[str], None]) -> Summary:
    """Return the summary of a collection; its files are in `folder`."""
    return _summary(collect_exports(asked, folder, tell))


def _summary(found: Collected) -> Summary:
    failed = [command for command in found.commands if command["code"] is not None]
    lines = [f"Folder:  {found.folder}", f"Commands: {len(found.commands)}, of which {len(failed)} failed"]
    lines += [f"  {command['code']}: gcloud {command['name']} {command['resource'] or ''}".rstrip() for command in failed]
    if any(command["code"] == "UNAUTHENTICATED" for command in failed):
        lines.append("Nobody is logged in to gcloud, or the login has expired: run `gcloud auth login`, and collect again.")
    keys = ("name", "resource", "file", "code", "error", "seconds")
    record = {"folder": str(found.folder), "commands": [{key: command[key] for key in keys} for command in found.commands]}
    return Summary("\n".join(lines), record, complete=not found.unseen)


def _moment(text: str, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ParameterError(f"{option} {text!r} is no time.", "Write it as 2025-06-03T09:00Z.") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
