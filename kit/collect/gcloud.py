"""The shapes that gcloud prints: what an item of a file is, and the rows it becomes.

Knative v1, as `gcloud run services|revisions` prints it, and the v2 shape of REST and Terraform. Whatever is
missing or of another type than it should be is None: an export may be cut by hand. Values of environment
variables and secrets are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from kit.collect.logs import is_activity, moment
from kit.collect.masking import message as masked_message

Rows = Iterator[tuple[Any, ...]]
KINDS = frozenset({"service", "revision", "policy", "audit entry"})

_V2_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/services/[^/]+(/revisions/[^/]+)?", re.DOTALL)
_POLICY_KEYS = {"version", "etag", "bindings", "auditConfigs"}
_STATES = {"True": True, "False": False, "CONDITION_SUCCEEDED": True, "CONDITION_FAILED": False}


def kind_of(item: Any) -> str:
    """Return what an item is: one of `KINDS`, or words that say what else it is."""
    if not isinstance(item, dict):
        return "not an object"
    if str(item.get("apiVersion")).startswith("serving.knative.dev/") and item.get("kind") in ("Service", "Revision"):
        return str(item["kind"]).lower()
    if name := _V2_NAME.fullmatch(str(item.get("name"))):
        return "revision" if name[1] else "service"
    if isinstance(item.get("bindings"), list) or ("etag" in item and set(item) <= _POLICY_KEYS):
        return "policy"
    return _log_kind(item)


def _log_kind(item: dict[str, Any]) -> str:
    if isinstance(item.get("protoPayload"), dict) or "logName" in item:
        if moment(item.get("timestamp")) is None and moment(item.get("receiveTimestamp")) is None:
            return "log entry without a time"
        return "audit entry" if is_activity(item) else "entry of another log"
    return "Cloud SQL instance" if item.get("kind") == "sql#instance" else "unknown shape"


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any, *path: str) -> str | None:
    found = _at(value, *path)
    return found if isinstance(found, str) else None


def _list(value: Any, *path: str) -> list[Any]:
    found = _at(value, *path)
    return found if isinstance(found, list) else []


def _last(name: str | None) -> str | None:
    """Return the last part of a resource's name, which is all of it in the v1 shape."""
    return None if name is None else name.rpartition("/")[2]


def service_rows(item: Any, _: str) -> Rows:
    """Yield the one row of a service, in the columns of the frame `services`."""
    template, (is_ready, _reason, message, _changed) = _template(item), _readiness(item)
    yield (
        _own_name(item),
        _last(_text(item, "status", "latestCreatedRevisionName") or _text(item, "latestCreatedRevision")),
        _last(_text(item, "status", "latestReadyRevisionName") or _text(item, "latestReadyRevision")),
        _service_account(item, template),
        _text(item, "status", "url") or _text(item, "uri"),
        is_ready,
        message,
        _instances(template),
    )


def traffic_rows(item: Any, _: str) -> Rows:
    """Yield a row for each traffic target of a service: service, revision, percent of the requests."""
    latest = _text(item, "latestReadyRevision")
    for target in _list(item, "status", "traffic") + _list(item, "trafficStatuses"):
        revision = _text(target, "revisionName") or _text(target, "revision") or latest
        percent = _at(target, "percent")
        # A target that only carries a tag has no percentage.
        yield _own_name(item), _last(revision), percent if isinstance(percent, int) and 0 <= percent <= 100 else 0


def revision_rows(item: Any, _: str) -> Rows:
    """Yield the one row of a revision, in the columns of the frame `revisions`."""
    shape = item if "metadata" in item else {"metadata": {}, "spec": item}
    containers = _list(shape, "spec", "containers")
    yield (
        _last(_text(item, "metadata", "labels", "serving.knative.dev/service") or _v2_service(item)),
        _own_name(item),
        moment(_text(item, "metadata", "creationTimestamp") or _text(item, "createTime")),
        _text(containers[0], "image") if containers else None,
        _text(item, "status", "imageDigest"),
        _text(shape, "metadata", "annotations", "serving.knative.dev/creator") or _text(item, "creator"),
        *_readiness(item),
        _service_account(item, shape),
        _instances(shape),
    )


def binding_rows(item: Any, file: str) -> Rows:
    """Yield a row for each member of each binding of a policy: file, role, member, title of the condition."""
    for binding in _list(item, "bindings"):
        condition = _at(binding, "condition")
        title = None if condition is None else _text(condition, "title") or "untitled"
        for member in _list(binding, "members"):
            if isinstance(member, str):
                # A policy does not say whose it is; the file's name is all there is.
                yield file, _text(binding, "role"), member, title


def _own_name(item: Any) -> str | None:
    return _text(item, "metadata", "name") or _last(_text(item, "name"))


def _v2_service(item: Any) -> str | None:
    return _text(item, "service") or (_text(item, "name") or "").partition("/revisions/")[0] or None


def _template(item: Any) -> Any:
    """Return the revision template in the v1 shape: {metadata, spec}."""
    v2 = _at(item, "template")
    return {"metadata": {}, "spec": v2} if v2 is not None else _at(item, "spec", "template")


def _service_account(item: Any, template: Any) -> str | None:
    named = _text(template, "spec", "serviceAccountName") or _text(template, "spec", "serviceAccount")
    project_number = _text(item, "metadata", "namespace") or ""
    default = f"{project_number}-compute@developer.gserviceaccount.com" if project_number.isdigit() else None
    return named or default


def _instances(template: Any) -> list[str]:
    listed = [_text(template, "metadata", "annotations", "run.googleapis.com/cloudsql-instances")]
    mounted: list[Any] = []
    for volume in _list(template, "spec", "volumes"):
        if _text(volume, "csi", "driver") == "cloudsql.run.googleapis.com":
            listed.append(_text(volume, "csi", "volumeAttributes", "instances"))
        mounted += _list(volume, "cloudSqlInstance", "instances")
    named = [name for text in listed if text for name in text.split(",")]
    return named + [name for name in mounted if isinstance(name, str)]


def _readiness(item: Any) -> tuple[bool | None, str | None, str | None, datetime | None]:
    """Return (is_ready, reason, message, changed_at); is_ready is None while the status is of an older generation."""
    conditions = _list(item, "status", "conditions") + _list(item, "conditions") + [_at(item, "terminalCondition")]
    ready = next((c for c in conditions if _text(c, "type") == "Ready"), None)
    wanted = _at(item, "metadata", "generation") or _at(item, "generation")
    seen = _at(item, "status", "observedGeneration") or _at(item, "observedGeneration")
    is_stale = wanted is not None and seen is not None and wanted != seen
    state = _STATES.get(_text(ready, "status") or _text(ready, "state") or "")
    reason = _text(ready, "reason") or _text(ready, "revisionReason")
    message = _text(ready, "message")
    told = None if message is None else masked_message(message)
    return None if is_stale else state, reason, told, moment(_text(ready, "lastTransitionTime"))
