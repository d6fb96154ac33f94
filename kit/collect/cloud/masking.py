"""What a cloud export must lose before it is written: literal environment values, and whatever may hold a secret.

An allow-list where anybody may write anything: labels, annotations and log lines. Of a line only the known error stays,
which is all that is ever read of it.
"""

from __future__ import annotations

import re
from typing import Any

from kit.collect.cloud.logs import READ_WORDS, known_words
from kit.collect.cloud.services import MASKED_VALUE, TOLD
from kit.collect.cloud.shapes import kind_of
from kit.collect.cloud.values import value_facts
from kit.collect.masking import tokens_masked
from kit.collect.secrecy import Secrecy

# An audit entry repeats the whole service that was deployed, so these stand anywhere.
_COMMAND_LINES = frozenset({"args", "command", "entrypoint", "script", "httpHeaders"})
_FREE_MAPS = frozenset({"substitutions", "userLabels"})
_NAMED_MAPS = frozenset({"labels", "annotations"})
_SECRET_KEYS = re.compile(
    r"password|passphrase|privatekey|private_key|clientsecret|accesstoken|refreshtoken|idtoken|authorization", re.I
)
_LEFT_OUT = frozenset({"kubectl.kubernetes.io/last-applied-configuration", "serverCaCert", "payload"})
# What Google writes: its own labels and annotations, and those by which a log names a resource.
_OPEN_NAMES = re.compile(
    r"(?:[\w.-]+\.)?(?:googleapis\.com|knative\.dev)/.*|goog-.*|"
    r"(?:project|service|revision|configuration|database|secret|job|instance)_(?:id|name)|location|region|zone|service|method",
    re.DOTALL,
)
_KEPT_OF_A_LINE = ("insertId", "logName", "timestamp", "receiveTimestamp", "severity", "resource", "trace")
_SECRECY = Secrecy()


def masked_export(value: Any) -> Any:
    """Return an export without literal environment values, command lines, labels, log lines and secrets; their places stay.

    A literal value becomes `<masked>`, and beside it stands what may be told of it (see `values`).
    """
    if isinstance(value, list):
        return [masked_export(item) for item in value]
    if isinstance(value, str):
        return tokens_masked(_SECRECY.text(value))
    if not isinstance(value, dict):
        return value
    if kind_of(value) == "log entry":
        return _masked_line(value)
    return {masked_export(key): _masked(key, item) for key, item in value.items() if key not in _LEFT_OUT}


def _masked(key: str, item: Any) -> Any:
    if key == "env" and isinstance(item, list):
        return [_masked_variable(variable) for variable in item]
    if (key == "env" or key in _FREE_MAPS) and isinstance(item, dict):
        return dict.fromkeys(item, MASKED_VALUE)
    if key in _NAMED_MAPS and isinstance(item, dict):
        return {name: masked_export(value) if _OPEN_NAMES.fullmatch(name) else MASKED_VALUE for name, value in item.items()}
    if key in _COMMAND_LINES and isinstance(item, list | str):
        return [MASKED_VALUE for _ in item] if isinstance(item, list) else MASKED_VALUE
    if isinstance(item, str) and _SECRET_KEYS.search(key) and item:
        return MASKED_VALUE
    return masked_export(item)


def _masked_line(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a log entry with the known error in the place of its words."""
    kept = {key: _masked(key, entry[key]) for key in _KEPT_OF_A_LINE if key in entry}
    words = masked_export(known_words(entry))
    return {**kept, READ_WORDS: words or MASKED_VALUE}


def _masked_variable(variable: Any) -> Any:
    if isinstance(variable, str):
        # A build step's environment is a list of NAME=value.
        return f"{variable.partition('=')[0]}={MASKED_VALUE}"
    if not isinstance(variable, dict) or not variable.get("value"):
        return masked_export(variable)
    others = {key: masked_export(item) for key, item in variable.items() if key not in ("value", TOLD)}
    if not isinstance(variable["value"], str):
        return {**others, "value": MASKED_VALUE}
    facts = value_facts(str(variable.get("name")), variable["value"])
    told = {"fingerprint": facts.fingerprint, "flags": list(facts.flags), "shape": facts.shape, "shown": facts.shown}
    return {**others, "value": MASKED_VALUE, TOLD: told}
