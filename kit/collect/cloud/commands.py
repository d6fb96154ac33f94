"""The gcloud commands of a collection: which they are, how one is run, and that none of them can change anything."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kit.errors import KitError

# All that is ever run; a command that begins with anything else is refused.
READING = (
    ("run", "services", "describe"),
    ("run", "services", "list"),
    ("run", "revisions", "list"),
    ("projects", "get-iam-policy"),
    ("projects", "get-ancestors-iam-policy"),
    ("sql", "instances", "describe"),
    ("sql", "users", "list"),
    ("secrets", "versions", "list"),
    ("secrets", "get-iam-policy"),
    ("logging", "read"),
)
_AUDITED = ("run", "secretmanager", "cloudsql", "cloudresourcemanager", "iam", "serviceusage", "cloudbuild")
_MOST_ENTRIES, _MOST_REVISIONS = 1000, 100


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words after `gcloud`, what it is asked of (None: the project), and the file for its answer."""

    words: tuple[str, ...]
    options: tuple[str, ...]
    resource: str | None
    file: str

    @property
    def name(self) -> str:
        """Return the command without its operands: `secrets versions list`; ValueError for one that does not only read."""
        known = next((words for words in READING if self.words[: len(words)] == words), None)
        if known is None:
            raise ValueError(f"not a reading command: {shlex.join(self.words)}")
        return " ".join(known)

    @property
    def line(self) -> str:
        """Return the command as a shell would take it."""
        return shlex.join(("gcloud", *self.words, *self.options))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to: its output and its errors as gcloud wrote them, and None as status where it was stopped."""

    command: Command
    started_at: datetime
    seconds: float
    status: int | None
    output: bytes
    errors: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a collection is asked for; the window in UTC limits the log."""

    project: str
    services: tuple[str, ...]
    instances: tuple[str, ...]
    region: str | None
    since: datetime
    until: datetime


def first_commands(asked: Asked) -> list[Command]:
    """Return the commands that need no other's answer: services, policies, logs."""
    policies = [
        _policy(asked, "iam-policy"),
        _command(
            asked, ("projects", "get-ancestors-iam-policy", asked.project), None, "ancestors-iam-policy", with_project=False
        ),
    ]
    return [*(_service(asked, name) for name in asked.services), *policies, _errors(asked), _audit(asked)]


def _service(asked: Asked, name: str) -> Command:
    # Only `list` finds a service whose region is not known.
    words = ("run", "services", "describe", name) if asked.region else ("run", "services", "list")
    chosen = f"--region={asked.region}" if asked.region else f"--filter=metadata.name={name}"
    return _command(asked, words, name, f"service-{name}", (chosen,))


def revision_command(asked: Asked, service: str, region: str) -> Command:
    """Return the command that lists a service's revisions; gcloud wants the region."""
    options = (f"--service={service}", f"--region={region}", f"--limit={_MOST_REVISIONS}")
    return _command(asked, ("run", "revisions", "list"), service, f"revisions-{service}", options)


def instance_commands(asked: Asked, instance: str) -> list[Command]:
    """Return the commands about an instance, which may be named with its project: `project:region:instance`."""
    parts = instance.rsplit(":", 2)
    project, name = (parts[0], parts[2]) if len(parts) == 3 else (asked.project, instance)
    there = Asked(project, (), (), None, asked.since, asked.until)
    return [
        _command(there, ("sql", "instances", "describe", name), name, f"instance-{name}"),
        _command(there, ("sql", "users", "list"), name, f"users-{name}", (f"--instance={name}",)),
        # An instance of another project is opened by that project's policy.
        *([_policy(there, f"iam-policy-{project}")] if project != asked.project else []),
    ]


def _policy(asked: Asked, file: str) -> Command:
    return _command(asked, ("projects", "get-iam-policy", asked.project), None, file, with_project=False)


def secret_commands(asked: Asked, project: str | None, secret: str) -> list[Command]:
    """Return the commands about a secret: its versions (not their payload) and its own policy."""
    there = Asked(project or asked.project, (), (), None, asked.since, asked.until)
    return [
        _command(there, ("secrets", "versions", "list", secret), secret, f"secret-versions-{secret}"),
        _command(there, ("secrets", "get-iam-policy", secret), secret, f"secret-iam-policy-{secret}"),
    ]


def _errors(asked: Asked) -> Command:
    names = " OR ".join(f'"{name}"' for name in asked.services)
    query = f'resource.type="cloud_run_revision" AND resource.labels.service_name=({names}) AND severity>=ERROR'
    return _log(asked, query, "log-errors")


def _audit(asked: Asked) -> Command:
    apis = " OR ".join(f'"{api}.googleapis.com"' for api in _AUDITED)
    query = f'log_id("cloudaudit.googleapis.com/activity") AND protoPayload.serviceName=({apis})'
    return _log(asked, query, "audit-log")


def _log(asked: Asked, query: str, file: str) -> Command:
    window = f'timestamp>="{asked.since:%Y-%m-%dT%H:%M:%SZ}" AND timestamp<"{asked.until:%Y-%m-%dT%H:%M:%SZ}"'
    return _command(asked, ("logging", "read", f"{query} AND {window}"), None, file, (f"--limit={_MOST_ENTRIES}",))


def _command(
    asked: Asked,
    words: tuple[str, ...],
    resource: str | None,
    file: str,
    options: Sequence[str] = (),
    *,
    with_project: bool = True,
) -> Command:
    project = (f"--project={asked.project}",) if with_project else ()
    return Command(words, (*options, *project, "--format=json", "--quiet"), resource, f"{file}.json")


def gcloud_path() -> str:
    """Return where gcloud is; KitError without it."""
    found = shutil.which("gcloud")
    if found is None:
        hint = "Install the Google Cloud CLI, or write the files where it is installed: --dry-run prints the commands."
        raise KitError("gcloud is not installed, or not on the PATH.", hint)
    return found


def run(gcloud: str, command: Command, seconds: float) -> Answer:
    """Return what the command answered within that time; ValueError for one that does not only read."""
    arguments = [gcloud, *command.name.split(), *command.words[len(command.name.split()) :], *command.options]
    started_at, started = datetime.now(UTC), time.perf_counter()
    environment = {**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1"}
    # A group of its own: gcloud is a shell script, and what it started must end with it.
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        status, output, errors = None, b"", f"no answer in {seconds:.0f} seconds: it timed out".encode()
    finally:
        _end(process)
    return Answer(command, started_at, round(time.perf_counter() - started, 3), status, output, errors.decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
