"""The same service and revisions in the v2 shape of REST and Terraform, made from those that gcloud prints (Knative v1)."""

from __future__ import annotations

from typing import Any

Item = dict[str, Any]
PLACE = "projects/orders-prod/locations/us-central1/services/"
_STATES = {"True": "CONDITION_SUCCEEDED", "False": "CONDITION_FAILED", "Unknown": "CONDITION_RECONCILING"}


def service_v2(v1: Item) -> Item:
    """Return a Knative service as `projects.locations.services.get` answers it."""
    status, name = v1["status"], PLACE + v1["metadata"]["name"]
    targets = [
        {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", **{key: target[key] for key in ("percent", "tag") if key in target}}
        | {"revision": target["revisionName"]}
        for target in status["traffic"]
    ]
    return {
        "name": name,
        "generation": str(v1["metadata"]["generation"]),
        "observedGeneration": str(status["observedGeneration"]),
        "ingress": "INGRESS_TRAFFIC_ALL",
        "template": _template(v1["spec"]["template"]),
        "terminalCondition": _condition(status["conditions"][0]),
        "latestReadyRevision": f"{name}/revisions/{status['latestReadyRevisionName']}",
        "latestCreatedRevision": f"{name}/revisions/{status['latestCreatedRevisionName']}",
        "trafficStatuses": targets,
        "uri": status["url"],
    }


def revision_v2(v1: Item) -> Item:
    """Return a Knative revision as `projects.locations.services.revisions.list` answers it."""
    service = v1["metadata"]["labels"]["serving.knative.dev/service"]
    return {
        "name": f"{PLACE}{service}/revisions/{v1['metadata']['name']}",
        "service": service,
        "createTime": v1["metadata"]["creationTimestamp"],
        **_template(v1),
        "conditions": [_condition(condition) for condition in v1["status"]["conditions"]],
    }


def _template(v1: Item) -> Item:
    spec, annotations = v1["spec"], v1["metadata"].get("annotations", {})
    attached = [name for name in annotations.get("run.googleapis.com/cloudsql-instances", "").split(",") if name]
    volumes = [{"name": "cloudsql", "cloudSqlInstance": {"instances": attached}}] if attached else []
    access = {"connector": annotations.get("run.googleapis.com/vpc-access-connector")}
    return {
        "serviceAccount": spec["serviceAccountName"],
        "containers": [_container(container) for container in spec["containers"]],
        "volumes": volumes,
        **({"vpcAccess": access} if access["connector"] else {}),
    }


def _container(v1: Item) -> Item:
    kept = {key: value for key, value in v1.items() if key in ("name", "image", "resources")}
    return {**kept, "env": [_variable(variable) for variable in v1.get("env", [])]}


def _variable(v1: Item) -> Item:
    if "valueFrom" not in v1:
        return v1
    wanted = v1["valueFrom"]["secretKeyRef"]
    return {"name": v1["name"], "valueSource": {"secretKeyRef": {"secret": wanted["name"], "version": wanted["key"]}}}


def _condition(v1: Item) -> Item:
    told = {"type": v1["type"], "state": _STATES[v1["status"]], "lastTransitionTime": v1["lastTransitionTime"]}
    # SecretsAccessCheckFailed is SECRETS_ACCESS_CHECK_FAILED here.
    reason = "".join(f"_{c}" if c.isupper() else c for c in v1.get("reason", "")).strip("_").upper()
    return told | ({"reason": reason, "message": v1.get("message", "")} if reason else {})
