"""What a service or a revision is set to, one row each with the file and the JSON pointer: environment, secrets, network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.collect.cloud.nodes import Node
from kit.collect.cloud.shapes import (
    Rows,
    annotation,
    instances_of,
    kind_of,
    own_name,
    service_account,
    service_of,
    spec_of,
    template_of,
)
from kit.collect.cloud.values import value_facts, value_flags

# What `kit cloud collect` writes in the place of a literal value, and the key under which it tells about it.
MASKED_VALUE, TOLD = "<masked>", "incidentKit"


def reference_rows(item: Node) -> Rows:
    """Yield a row for each Cloud SQL instance that is named, also where naming it has no effect."""
    template = template_of(item)
    named = [(name, place, node) for name, place, node in instances_of(template)]
    if kind_of(item.value) == "service":
        without_effect = annotation(item, "cloudsql-instances")
        named += [
            (name, "annotation of the service", without_effect) for name in (without_effect.text() or "").split(",") if name
        ]
    for name, place, node in named:
        yield *_owner(item), place, name, value_flags(name), node.file, node.pointer


def environment_rows(item: Node) -> Rows:
    """Yield a row for each environment variable of each container; of a literal value only what may be told."""
    for container in spec_of(template_of(item)).items("containers"):
        name = container.text("name") or container.pointer.rpartition("/")[2]
        for variable in container.items("env"):
            if variable.text("name") is not None:
                yield *_owner(item), name, variable.text("name"), *_variable(item, variable), variable.file, variable.pointer


def _variable(item: Node, variable: Node) -> tuple[Any, ...]:
    secret = _secret_of(item, variable)
    if secret is not None:
        return "secret", *_NOTHING, *secret
    value = variable.text("value")
    if not value:
        return "empty" if variable.at("valueFrom").value is None else "other", *_NOTHING, None, None, None
    return "literal", *_told(variable, value), None, None, None


# In the place of fingerprint, flags, shape and shown value.
_NOTHING: tuple[Any, ...] = (None, [], None, None)


def _told(variable: Node, value: str) -> tuple[str | None, list[str], str | None, str | None]:
    told = variable.at(TOLD)
    if value == MASKED_VALUE and isinstance(told.value, dict):
        flags = [flag.value for flag in told.items("flags") if isinstance(flag.value, str)]
        return told.text("fingerprint"), flags, told.text("shape"), told.text("shown")
    facts = value_facts(variable.text("name") or "", value)
    return facts.fingerprint, list(facts.flags), facts.shape, facts.shown


def secret_rows(item: Node) -> Rows:
    """Yield a row for each version of a secret that a variable or a volume wants."""
    spec = spec_of(template_of(item))
    for container in spec.items("containers"):
        for variable in container.items("env"):
            if secret := _secret_of(item, variable):
                yield *_owner(item), f"variable {variable.text('name')}", *secret, variable.file, variable.pointer
    for volume in spec.items("volumes"):
        named = volume.text("secret", "secretName") or volume.text("secret", "secret")
        for version in _versions(volume) if named else []:
            yield (
                *_owner(item),
                f"volume {volume.text('name')}",
                *_resolved(item, named or ""),
                version,
                volume.file,
                volume.pointer,
            )


def setting_rows(item: Node) -> Rows:
    """Yield a row for each setting that two services may differ in; where one is not set, where it would stand."""
    template = template_of(item)
    for setting, node, value in _settings(item, template):
        yield *_owner(item), setting, value, node.file, node.pointer


def _settings(item: Node, template: Node) -> Iterator[tuple[str, Node, str | None]]:
    spec = spec_of(template)
    account = spec.at("serviceAccountName") if "serviceAccountName" in (spec.value or {}) else spec.at("serviceAccount")
    yield "service account", account, service_account(item, template)
    yield _first("VPC connector", annotation(template, "vpc-access-connector"), spec.at("vpcAccess", "connector"))
    yield _first("VPC egress", annotation(template, "vpc-access-egress"), spec.at("vpcAccess", "egress"))
    interfaces = spec.at("vpcAccess", "networkInterfaces")
    direct = annotation(template, "network-interfaces")
    yield "network interfaces", direct, direct.text() or (f"{len(interfaces.value)} of them" if interfaces.items() else None)
    yield "ingress", annotation(item, "ingress"), annotation(item, "ingress").text() or item.text("ingress")
    containers = spec.at("containers")
    yield "containers", containers, str(len(containers.items()))
    for setting, path in _PLAIN:
        node = spec.at(*path)
        yield setting, node, None if node.value is None else str(node.value)[:200]


# Nothing here is free text of the application's own: a command line may hold a secret.
_PLAIN: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("image", ("containers", 0, "image")),
    ("cpu limit", ("containers", 0, "resources", "limits", "cpu")),
    ("memory limit", ("containers", 0, "resources", "limits", "memory")),
    ("timeout", ("timeoutSeconds",)),
    ("concurrency", ("containerConcurrency",)),
)


def _first(setting: str, v1: Node, v2: Node) -> tuple[str, Node, str | None]:
    node = v1 if v2.text() is None else v2
    return setting, node, node.text()


def _owner(item: Node) -> tuple[str | None, str | None]:
    """Return (service, revision); no revision for what a service will be deployed with next."""
    return service_of(item), own_name(item) if kind_of(item.value) == "revision" else None


def _secret_of(item: Node, variable: Node) -> tuple[str | None, str, str | None] | None:
    v1, v2 = variable.at("valueFrom", "secretKeyRef"), variable.at("valueSource", "secretKeyRef")
    if v1.text("name"):
        return *_resolved(item, v1.text("name") or ""), v1.text("key")
    if v2.text("secret"):
        return *_resolved(item, v2.text("secret") or ""), v2.text("version") or "latest"
    return None


def _resolved(item: Node, name: str) -> tuple[str | None, str]:
    """Return (project, secret) of a name, which may be a path, or an alias that an annotation explains."""
    aliases = annotation(template_of(item), "secrets").text() or ""
    known = dict(pair.split(":", 1) for pair in aliases.split(",") if ":" in pair)
    parts = known.get(name, name).split("/")
    return (parts[1], parts[3]) if len(parts) >= 4 and parts[0] == "projects" else (None, parts[-1])


def _versions(volume: Node) -> list[str]:
    found = [node.text("key") or node.text("version") for node in volume.items("secret", "items")]
    return list(dict.fromkeys(version for version in found if version)) or ["latest"]
