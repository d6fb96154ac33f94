"""Two services, two revisions, or the same service in two captures: what the cloud exports say of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kit.analyze.cloud.comparison import NOT_SET, Deployed, Item, compare_items, items_of
from kit.analyze.cloud.connections import Connection, connections
from kit.analyze.cloud.iam import CONNECTING_ROLES
from kit.analyze.cloud.scope import refused, rows_of
from kit.analyze.differences.model import Difference, Found, both
from kit.analyze.findings import LADDER, Layer
from kit.evidence.model import Frames

UNTOLD = "a value that may be a secret, and is not shown"
_OWN_IMAGE = "two services have images of their own"
_OWN_ACCOUNT = "two services have accounts of their own, which hold the same roles"
_WHY: dict[str, str] = {
    "configuration": "the service is told to do something else",
    "reachability": "the way from the service to the network is another",
    "authentication": "the service is another to whatever it asks, or may do other things",
    "change": "another code runs",
    "service": "the service behaves otherwise under it",
}
_CLOUD_LAYERS: tuple[Layer, ...] = ("configuration", "reachability", "authentication", "change", "service")
_NEEDED = ("environment", "runtime_settings", "instance_references")


def compare_deployed(a: Deployed, b: Deployed) -> Found:
    """Return in what two services, revisions or captures of one service differ, and in what they agree."""
    found = Found()
    missing = [name for name in _NEEDED if name not in a.frames or name not in b.frames]
    if missing:
        reason = f"what {_name(a)} is set to ({', '.join(missing)} was not captured)"
        found.not_compared += [(layer, reason) for layer in _CLOUD_LAYERS]
        return found
    _untold(found, a, b)
    comparison = compare_items(*_aligned(a, b))
    for item in comparison.equal:
        found.equal[item.layer, _plain(item.what)] += 1
    for difference in comparison.differences:
        cannot = _cannot_matter(difference.what, a, b)
        if cannot:
            found.left_out[cannot] += 1
        else:
            sides = both(_value, difference.left, difference.right)
            why = _WHY.get(difference.layer, "")
            kind, subject = _named(difference.what)
            of = f" of {_name(a)}" if _name(a) == _name(b) else ""
            found.differences.append(Difference(difference.layer, kind, subject + of, *sides, why))
    return found


def compare_all(a: Frames, b: Frames) -> Found:
    """Return in what the services of two captures differ, each with the one of its name; a single one with a single one."""
    found = Found()
    ours, theirs = (_services(frames) for frames in (a, b))
    if len(ours) == len(theirs) == 1 and not ours & theirs:
        found.add(compare_deployed(Deployed(a, *ours), Deployed(b, *theirs)))
        return found
    for name in sorted(ours & theirs):
        found.add(compare_deployed(Deployed(a, name), Deployed(b, name)))
    for name in sorted(ours ^ theirs):
        sides = ("there", "missing") if name in ours else ("missing", "there")
        found.differences.append(Difference("service", "service", name, *sides, "what calls it gets no answer"))
    return found


def names_of(frames: Frames, column: str) -> list[str]:
    """Return the services (`service_name`) or revisions (`revision_name`) that the exports speak of."""
    rows = [row for name in ("services", "revisions") for _, row in rows_of(frames, name)]
    return sorted({row[column] for row in rows if row.get(column)})


def _services(frames: Frames) -> set[str]:
    return set(names_of(frames, "service_name"))


def _value(item: Item | None) -> str:
    return item.value if item else NOT_SET


def _name(of: Deployed) -> str:
    return of.revision or of.service


def _named(what: str) -> tuple[str, str]:
    """Return the kind and the name of an item: `variable DATABASE_URL` and `role … on …` say it themselves."""
    kind, _, name = what.partition(" ")
    return (kind, name) if kind in ("variable", "role") else ("setting of the service", what)


def _plain(what: str) -> str:
    """Return the word under which equal items are counted: single settings by name, variables and roles together."""
    return {"variable": "environment variables", "role": "roles of the account"}.get(_named(what)[0], what)


def _untold(found: Found, a: Deployed, b: Deployed) -> None:
    for what in sorted(a.untold & b.untold):
        found.not_compared.append(("configuration", f"{what}: {UNTOLD}"))


def _aligned(a: Deployed, b: Deployed) -> tuple[list[Item], list[Item]]:
    """Return the items of both, each thing on one rung, an untold value as such and not as one that is not set."""
    sides = [list(_items(of)) for of in (a, b)]
    told = [{item.what for item in side} for side in sides]
    for side, of, other in ((0, a, told[1]), (1, b, told[0])):
        sides[side] += [Item("configuration", what, UNTOLD, "") for what in sorted(of.untold & other)]
    layers: dict[str, Layer] = {}
    for item in (*sides[0], *sides[1]):
        layers[item.what] = min(layers.get(item.what, item.layer), item.layer, key=LADDER.index)
    ours, theirs = ([replace(item, layer=layers[item.what]) for item in side] for side in sides)
    return ours, theirs


def _items(of: Deployed) -> Iterator[Item]:
    elsewhere = {f"variable {found.variable}" for found in connections(of.frames) if _leads_elsewhere(found)}
    for item in items_of(of):
        layer: Layer = "change" if item.what == "image" else "service" if item.what in elsewhere else item.layer
        yield replace(item, layer=layer)
    yield from _roles(of)
    yield from _secrets(of)
    yield from _running(of)


def _leads_elsewhere(found: Connection) -> bool:
    """Return whether a URL leads to something that is no PostgreSQL: another dependency of the service."""
    return "://" in found.text and found.instance is None and not (found.scheme or "").startswith(("postgres", "cloudsql"))


def _account(of: Deployed) -> str | None:
    return next((row["value"] for row in of.rows("runtime_settings") if row["setting"] == "service account"), None)


def _roles(of: Deployed) -> Iterator[Item]:
    """Yield the roles of the account; those that let it connect are told together elsewhere."""
    account, policies = _account(of), {row["resource"]: row for _, row in rows_of(of.frames, "iam_policies")}
    for _, row in rows_of(of.frames, "iam_bindings"):
        policy = policies.get(row["resource"])
        is_told = policy is not None and policy["resource_kind"] == "project" and row["role"] in CONNECTING_ROLES
        if row["member"] == f"serviceAccount:{account}" and not is_told:
            on = f"secret {policy['resource_name']}" if policy and policy["resource_kind"] == "secret" else "the project"
            given = f"given under the condition {row['condition_title']!r}" if row["condition_title"] else "given"
            yield Item("authentication", f"role {row['role']} on {on}", given, "")


def _secrets(of: Deployed) -> Iterator[Item]:
    """Yield the state of the version that each wanted secret comes to; of those whose versions were exported."""
    versions = [row for _, row in rows_of(of.frames, "secret_versions")]
    for row in of.rows("secret_references"):
        mine = [v for v in versions if v["secret_name"] == row["secret_name"]]
        newest = max(mine, key=lambda v: (str(v["created_at"] or ""), str(v["secret_version"])), default=None)
        named = next((v for v in mine if v["secret_version"] == row["secret_version"]), None)
        version = newest if row["secret_version"] == "latest" else named
        if not mine:
            told = refused(of.frames, "secrets versions list", row["secret_name"])
            state = "not found" if told and told[1]["code"] == "NOT_FOUND" else None
        else:
            state = version["state"] if version else "version missing"
        if state:
            yield Item("configuration", f"state of the secret behind {row['used_as']}", state, "")


def _running(of: Deployed) -> Iterator[Item]:
    """Yield what takes the traffic, and of a revision the digest of its image, for a tag can be moved."""
    shares = [row for _, row in rows_of(of.frames, "traffic") if row["service_name"] == of.service and row["percent"]]
    if of.revision is None:
        told = ", ".join(sorted(f"{row['revision_name'] or 'the latest'} {row['percent']} %" for row in shares))
        yield Item("change", "revisions that take traffic", told or "none", "")
        return
    share = sum(row["percent"] for row in shares if row["revision_name"] == of.revision)
    yield Item("change", "traffic", f"{share} %", "")
    for _, row in rows_of(of.frames, "revisions"):
        if row["revision_name"] == of.revision and row["image_digest"]:
            yield Item("change", "digest of the image", row["image_digest"], "")


def _cannot_matter(what: str, a: Deployed, b: Deployed) -> str | None:
    if a.service == b.service:
        return None
    if what in ("image", "digest of the image", "revisions that take traffic"):
        return _OWN_IMAGE
    return _OWN_ACCOUNT if what == "service account" and _same_roles(a, b) else None


def _same_roles(a: Deployed, b: Deployed) -> bool:
    """Return whether both accounts hold the same roles; False where no policy was exported."""
    given = [
        {(row["resource"], row["role"], row["condition_title"]) for _, row in rows_of(of.frames, "iam_bindings")
         if row["member"] == f"serviceAccount:{_account(of)}"}
        for of in (a, b)
    ]  # fmt: skip
    return bool(given[0]) and given[0] == given[1]
