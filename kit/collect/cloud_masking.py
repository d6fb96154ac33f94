"""What a cloud export must lose before it is written: literal environment values, and whatever holds a secret by its name."""

from __future__ import annotations

import re
from typing import Any

from kit.collect.cloud_services import MASKED_VALUE, TOLD
from kit.collect.cloud_values import value_facts
from kit.collect.secrecy import Secrecy

# An audit entry repeats the whole service that was deployed, so these stand anywhere.
_COMMAND_LINES = frozenset({"args", "command"})
_SECRET_KEYS = re.compile(
    r"password|passphrase|privatekey|private_key|clientsecret|accesstoken|refreshtoken|idtoken|authorization", re.I
)
_LEFT_OUT = frozenset({"kubectl.kubernetes.io/last-applied-configuration", "serverCaCert", "payload"})
# Header fields of a request, and a body that somebody logged, may be anything.
_SECRECY = Secrecy()


def masked_export(value: Any) -> Any:
    """Return an export without literal environment values, command lines and secrets; their places stay.

    A literal value becomes `<masked>`, and beside it stands what may be told of it (see `cloud_values`).
    """
    if isinstance(value, list):
        return [masked_export(item) for item in value]
    if isinstance(value, str):
        return _SECRECY.text(value)
    if not isinstance(value, dict):
        return value
    return {_SECRECY.text(key): _masked(key, item) for key, item in value.items() if key not in _LEFT_OUT}


def _masked(key: str, item: Any) -> Any:
    if key == "env" and isinstance(item, list):
        return [_masked_variable(variable) for variable in item]
    if key == "env" and isinstance(item, dict):
        return dict.fromkeys(item, MASKED_VALUE)
    if key in _COMMAND_LINES and isinstance(item, list):
        return [MASKED_VALUE for _ in item]
    if isinstance(item, str) and _SECRET_KEYS.search(key) and item:
        return MASKED_VALUE
    return masked_export(item)


def _masked_variable(variable: Any) -> Any:
    if not isinstance(variable, dict) or not isinstance(variable.get("value"), str) or not variable["value"]:
        return masked_export(variable)
    facts = value_facts(str(variable.get("name")), variable["value"])
    told = {"fingerprint": facts.fingerprint, "flags": list(facts.flags), "shape": facts.shape, "shown": facts.shown}
    others = {key: masked_export(item) for key, item in variable.items() if key not in ("value", TOLD)}
    return {**others, "value": MASKED_VALUE, TOLD: told}
