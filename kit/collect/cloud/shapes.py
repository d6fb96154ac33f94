"""The shapes that gcloud prints: what an item of a file is, and the rows that services and policies become.

Knative v1, as `gcloud run services|revisions` prints it, and the v2 shape of REST and Terraform. Whatever is
missing or of another type than it should be is None: an export may be cut by hand. What a value of an environment
variable may tell is in `values`, the other rows of a service in `services`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from kit.collect.cloud.nodes import Node
from kit.collect.logs import is_activity, moment
from kit.collect.masking import message as masked_message

Rows = Iterator[tuple[Any, ...]]
KINDS = frozenset(
    {
        *("service", "revision", "policy", "ancestor policy", "audit entry", "log entry"),
        *("instance", "database user", "secret version", "command"),
    }
)

_V2_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/services/[^/]+(/revisions/[^/]+)?", re.DOTALL)
_VERSION_NAME = re.compile(r"projects/[^/]+/secrets/[^/]+/versions/[^/]+", re.DOTALL)
_POLICY_KEYS = {"version", "etag", "bindings", "auditConfigs"}
_STATES = {"True": True, "False": False, "CONDITION_SUCCEEDED": True, "CONDITION_FAILED": False}
_OTHER_KINDS = {"sql#instance": "instance", "sql#user": "database user", "incident-kit#command": "command"}


def kind_of(item: Any) -> str:
    """Return what an item is: one of `KINDS`, or words that say what else it is."""
    if not isinstance(item, dict):
        return "not an object"
    if str(item.get("apiVersion")).startswith("serving.knative.dev/") and item.get("kind") in ("Service", "Revision"):
        return str(item["kind"]).lower()
    if name := _V2_NAME.fullmatch(str(item.get("name"))):
        return "revision" if name[1] else "service"
    if _VERSION_NAME.fullmatch(str(item.get("name"))):
        return "secret version"
    if isinstance(item.get("bindings"), list) or ("etag" in item and set(item) <= _POLICY_KEYS):
        return "policy"
    return _other_kind(item)


def _other_kind(item: dict[str, Any]) -> str:
    if isinstance(item.get("policy"), dict) and item.get("type") in ("project", "folder", "organization"):
        return "ancestor policy"
    if isinstance(item.get("protoPayload"), dict) or "logName" in item:
        if moment(item.get("timestamp")) is None and moment(item.get("receiveTimestamp")) is None:
            return "log entry without a time"
        return "audit entry" if is_activity(item) else "log entry"
    return _OTHER_KINDS.get(str(item.get("kind")), "unknown shape")


def service_rows(item: Node) -> Rows:
    """Yield the one row of a service, in the columns of the frame `services`."""
    template, (is_ready, _reason, message, _changed) = template_of(item), _readiness(item)
    yield (
        own_name(item),
        last_part(item.text("status", "latestCreatedRevisionName") or item.text("latestCreatedRevision")),
        last_part(item.text("status", "latestReadyRevisionName") or item.text("latestReadyRevision")),
        service_account(item, template),
        item.text("status", "url") or item.text("uri"),
        is_ready,
        message,
        [name for name, _, _ in instances_of(template)],
        item.file,
        item.pointer,
    )


def traffic_rows(item: Node) -> Rows:
    """Yield a row for each traffic target of a service: service, revision, percent of the requests."""
    latest = item.text("latestReadyRevision")
    for target in item.items("status", "traffic") + item.items("trafficStatuses"):
        revision = target.text("revisionName") or target.text("revision") or latest
        percent = target.at("percent").value
        # A target that only carries a tag has no percentage.
        share = percent if isinstance(percent, int) and 0 <= percent <= 100 else 0
        yield own_name(item), last_part(revision), share, item.file, target.pointer


def revision_rows(item: Node) -> Rows:
    """Yield the one row of a revision, in the columns of the frame `revisions`."""
    shape = template_of(item)
    yield (
        service_of(item),
        own_name(item),
        moment(item.text("metadata", "creationTimestamp") or item.text("createTime")),
        shape.text("spec", "containers", 0, "image") or shape.text("containers", 0, "image"),
        item.text("status", "imageDigest"),
        item.text("metadata", "annotations", "serving.knative.dev/creator") or item.text("creator"),
        *_readiness(item),
        service_account(item, shape),
        [name for name, _, _ in instances_of(shape)],
        item.file,
        item.pointer,
    )


def binding_rows(item: Node) -> Rows:
    """Yield a row for each member of each binding of a policy: file, role, member, title of the condition."""
    for binding in item.items("policy", "bindings") or item.items("bindings"):
        condition = binding.at("condition")
        title = None if condition.value is None else condition.text("title") or "untitled"
        for member in binding.items("members"):
            if isinstance(member.value, str):
                # A policy does not say whose it is; the file's name is all there is (see the frame iam_policies).
                yield resource_of(item), binding.text("role"), member.value, title, item.file, member.pointer


def resource_of(item: Node) -> str:
    """Return what tells one policy from another: the file, and the ancestor where the file holds several."""
    ancestor = item.text("id") if item.at("policy").value is not None else None
    return item.file if ancestor is None else f"{item.file} {item.text('type')} {ancestor}"


def own_name(item: Node) -> str | None:
    """Return the name of a service or revision, without its project."""
    return item.text("metadata", "name") or last_part(item.text("name"))


def location_of(item: Node) -> tuple[str | None, str | None]:
    """Return (region, number of the project) of a service or revision, each None where the export does not say."""
    parts = (item.text("name") or "").split("/")
    if len(parts) > 3 and parts[0] == "projects":
        return parts[3], parts[1] if parts[1].isdigit() else None
    number = item.text("metadata", "namespace") or ""
    return item.text("metadata", "labels", "cloud.googleapis.com/location"), number if number.isdigit() else None


def last_part(name: str | None) -> str | None:
    """Return the last part of a resource's name, which is all of it in the v1 shape."""
    return None if name is None else name.rpartition("/")[2]


def service_of(item: Node) -> str | None:
    """Return the service that a revision belongs to, or the name of the service itself."""
    if kind_of(item.value) == "service":
        return own_name(item)
    named = item.text("metadata", "labels", "serving.knative.dev/service") or item.text("service")
    return last_part(named or (item.text("name") or "").partition("/revisions/")[0] or None)


def template_of(item: Node) -> Node:
    """Return where the settings of a service or revision stand: with `metadata` and `spec` in v1, without in v2."""
    if kind_of(item.value) == "revision":
        return item
    v2 = item.at("template")
    return v2 if v2.value is not None else item.at("spec", "template")


def spec_of(template: Node) -> Node:
    """Return the node that holds containers, volumes and account: `spec` in v1, the template itself in v2."""
    return template.at("spec") if isinstance(template.at("spec").value, dict) else template


def annotation(template: Node, name: str) -> Node:
    """Return the node of the annotation `run.googleapis.com/<name>` of a template."""
    return template.at("metadata", "annotations", f"run.googleapis.com/{name}")


def service_account(item: Node, template: Node) -> str | None:
    """Return the account that a template runs as; the project's default one where none is named."""
    spec = spec_of(template)
    named = spec.text("serviceAccountName") or spec.text("serviceAccount")
    project_number = item.text("metadata", "namespace") or ""
    default = f"{project_number}-compute@developer.gserviceaccount.com" if project_number.isdigit() else None
    return named or default


def instances_of(template: Node) -> list[tuple[str, str, Node]]:
    """Return each Cloud SQL instance that a template attaches, byte by byte: (name, annotation or volume, where)."""
    listed = [("annotation", annotation(template, "cloudsql-instances"))]
    mounted: list[tuple[str, Node]] = []
    for volume in spec_of(template).items("volumes"):
        if volume.text("csi", "driver") == "cloudsql.run.googleapis.com":
            listed.append(("volume", volume.at("csi", "volumeAttributes", "instances")))
        mounted += [("volume", node) for node in volume.items("cloudSqlInstance", "instances")]
    named = [(name, place, node) for place, node in listed for name in (node.text() or "").split(",") if name]
    return named + [(node.value, place, node) for place, node in mounted if isinstance(node.value, str)]


def _readiness(item: Node) -> tuple[bool | None, str | None, str | None, datetime | None]:
    """Return (is_ready, reason, message, changed_at); is_ready is None while the status is of an older generation."""
    conditions = [*item.items("status", "conditions"), *item.items("conditions"), item.at("terminalCondition")]
    ready = next((c for c in conditions if c.text("type") == "Ready"), Node(None))
    wanted = item.at("metadata", "generation").value or item.at("generation").value
    seen = item.at("status", "observedGeneration").value or item.at("observedGeneration").value
    is_stale = wanted is not None and seen is not None and wanted != seen
    state = _STATES.get(ready.text("status") or ready.text("state") or "")
    reason = ready.text("reason") or ready.text("revisionReason")
    message = ready.text("message")
    told = None if message is None else masked_message(message)
    return None if is_stale else state, reason, told, moment(ready.text("lastTransitionTime"))
