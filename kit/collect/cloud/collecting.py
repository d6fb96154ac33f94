"""`kit cloud collect`: gcloud's answers, masked, in a folder of exports; a command that failed is kept as evidence."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.collect.cloud.commands import (
    Answer,
    Asked,
    Command,
    first_commands,
    gcloud_path,
    instance_commands,
    revision_command,
    run,
    secret_commands,
)
from kit.collect.cloud.failures import COMMAND, failure_code, told
from kit.collect.cloud.masking import masked_export
from kit.collect.cloud.nodes import Node
from kit.collect.cloud.services import reference_rows, secret_rows
from kit.collect.cloud.shapes import kind_of, own_name
from kit.errors import TargetError
from kit.evidence.instances import bare_name

COMMAND_SECONDS, ALL_SECONDS = 60.0, 600.0
COMMANDS_FILE = "commands.json"
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection came to: the record of each command, and the folder."""

    folder: Path
    commands: tuple[dict[str, Any], ...]

    @property
    def unseen(self) -> list[dict[str, Any]]:
        """Return the commands that could not look; that a thing is not there is an answer."""
        return [command for command in self.commands if command["code"] not in (None, "NOT_FOUND")]


def collect_exports(asked: Asked, folder: Path, tell: Tell) -> Collected:
    """Run the commands, tell each before it is run, and write their answers into `folder`, masked.

    Raises KitError without gcloud, and TargetError where the folder holds anything already or cannot be written.
    """
    gcloud = gcloud_path()
    with _whole(folder) as aside:
        records = _collect(gcloud, asked, aside, tell)
    return Collected(folder, tuple(records))


def _collect(gcloud: str, asked: Asked, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    deadline = time.monotonic() + ALL_SECONDS
    records: list[dict[str, Any]] = []
    found: list[Node] = []
    # Each stage is asked for by the answers of those before it.
    for stage in (_first, _revisions, _following):
        for command in list(stage(asked, found)):
            found += _kept(_asked_for(gcloud, command, deadline, tell), folder, records)
    _write(folder / COMMANDS_FILE, records)
    return records


def _first(asked: Asked, _: Iterable[Node]) -> Iterator[Command]:
    yield from first_commands(asked)


def _revisions(asked: Asked, found: Iterable[Node]) -> Iterator[Command]:
    for item in found:
        region = asked.region or item.text("metadata", "labels", "cloud.googleapis.com/location") or ""
        if kind_of(item.value) == "service" and own_name(item) in asked.services and _REGION.fullmatch(region):
            yield revision_command(asked, own_name(item) or "", region)


def _following(asked: Asked, found: Iterable[Node]) -> Iterator[Command]:
    """Yield the commands about the instances and secrets that the services name."""
    owners = [item for item in found if kind_of(item.value) in ("service", "revision")]
    # A name is asked for as it should be: that it is not so is seen in the service's own export.
    instances = dict.fromkeys([*asked.instances, *(bare_name(row[3]) for item in owners for row in reference_rows(item))])
    known = {name.rpartition(":")[2]: name for name in reversed(list(instances)) if name}
    for instance in filter(_INSTANCE.fullmatch, known.values()):
        yield from instance_commands(asked, instance)
    for project, secret in dict.fromkeys((row[3], row[4]) for item in owners for row in secret_rows(item)):
        if _SECRET.fullmatch(secret) and _PROJECT.fullmatch(project or "p"):
            yield from secret_commands(asked, project, secret)


# Names come out of an export: none may be taken for an option, or lead out of the folder.
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]*")
_INSTANCE = re.compile(rf"(?:{_PROJECT.pattern}:)?[a-z0-9][a-z0-9-]*")
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")
_SECRET = re.compile(r"\w[\w-]*", re.ASCII)


def _asked_for(gcloud: str, command: Command, deadline: float, tell: Tell) -> Answer:
    tell(command.line)
    left = deadline - time.monotonic()
    return run(gcloud, command, max(0.1, min(COMMAND_SECONDS, left)))


def _kept(answer: Answer, folder: Path, records: list[dict[str, Any]]) -> list[Node]:
    """Write the answer, add the command's record, and return the items of the answer."""
    value, code = _read(answer)
    if code is None:
        _write(folder / answer.command.file, value)
    records.append(_record(answer, code))
    items = value if isinstance(value, list) else [value]
    return [Node(item) for item in items if code is None]


def _read(answer: Answer) -> tuple[Any, str | None]:
    if answer.status != 0:
        return None, failure_code(answer.errors)
    try:
        value = masked_export(json.loads(answer.output or b"[]"))
        # `list` with a filter does not fail where there is nothing.
        return value, "NOT_FOUND" if answer.command.name == "run services list" and value == [] else None
    except (ValueError, RecursionError):
        return None, "UNKNOWN"


def _record(answer: Answer, code: str | None) -> dict[str, Any]:
    command = answer.command
    unread = "no such service in any region" if code == "NOT_FOUND" else "the answer is no JSON"
    return {
        "kind": COMMAND,
        "name": command.name,
        "resource": command.resource,
        "command": ["gcloud", *command.words, *command.options],
        "startedAt": answer.started_at.isoformat(),
        "seconds": answer.seconds,
        "status": answer.status,
        "file": command.file if code is None else None,
        "code": code,
        "error": None if code is None else told(answer.errors or unread),
    }


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give a hidden folder aside that becomes `folder` when all is written: half a collection would read like a whole one."""
    try:
        if folder.exists() and next(folder.iterdir(), None) is not None:
            raise TargetError(f"{folder} holds something already.", "Name a new folder: two collections do not mix.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise TargetError(f"{folder} cannot be written: {error.strerror}.", "Name another folder for --out.") from error
    try:
        yield aside
        _swap(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError as error:
        words = f"{folder} could not be put in its place: {error.strerror}."
        raise TargetError(words, "Name a new folder: two collections do not mix.") from error


def _write(path: Path, value: Any) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n", encoding="utf-8")
