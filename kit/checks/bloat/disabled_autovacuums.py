"""Autovacuum that is switched off, for the server or for a table.

What it shows: the settings autovacuum and track_counts where they are off, and tables with autovacuum_enabled = false.

Why it matters: dead rows stay, statistics go stale, plans go wrong; only the guard against the end of transaction
numbers still runs, at the worst time.

What to do: switch it on again by the remedy. Where it was switched off for a bulk load, the load's script should put it
back.

Known limits: a table that is vacuumed by a schedule of its own is reported too. The parameter of TOAST tables is not
looked at. A setting on the command line or forced by the provider is not changed by ALTER SYSTEM.

References: https://www.postgresql.org/docs/current/runtime-config-autovacuum.html and
https://www.postgresql.org/docs/current/sql-createtable.html#RELOPTION-AUTOVACUUM-ENABLED
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.bloat import in_user_schema, option_text, plain_lists
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.checks.triage._settings import setting_row, setting_text
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("relations", "settings")
SEVERITIES = ("warning",)
_SWITCHES = {"autovacuum": "no table is vacuumed or analyzed", "track_counts": "autovacuum does not know which tables need it"}
# The server keeps the word the user wrote, and takes any beginning of these that is not ambiguous.
_OFF = ("false", "no", "off", "0")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each switch that is off."""
    for name, effect in _SWITCHES.items():
        value = setting_text(frames, name)
        if value is None:
            yield NotExamined(name, "the setting was not visible")
            continue
        yield Examined(1)
        if value == "off":
            yield _setting(frames, name, effect)
    relations = frames["relations"].reset_index(drop=True)
    tables = relations[relations["kind"].isin(["table", "materialized view"]) & in_user_schema(relations["schema_name"])]
    yield Examined(len(tables))
    for position, schema, name, kind, options in zip(
        tables.index, tables["schema_name"], tables["relation_name"], tables["kind"], plain_lists(tables["options"]), strict=True
    ):
        if _is_off(option_text(options, "autovacuum_enabled")):
            yield _table(int(position), schema, name, kind)


def _is_off(word: str | None) -> bool:
    given = (word or "").lower()
    return len(given) > 0 and given != "o" and any(off.startswith(given) for off in _OFF)


def _setting(frames: Frames, name: str, effect: str) -> Finding:
    return Finding(
        severity="warning",
        subject=Subject("setting", name),
        message=f"{name} is off: {effect}.",
        remedy=f"alter system set {name} = on;\nselect pg_catalog.pg_reload_conf()",
        evidence=rows(setting_row(frames, name), "settings"),
    )


def _table(position: int, schema: str, name: str, kind: str) -> Finding:
    subject = Subject("table", name, schema)
    return Finding(
        severity="warning",
        subject=subject,
        message=f"Autovacuum is switched off for the {kind} {subject.qualified}.",
        remedy=f"alter {kind} {subject.qualified} reset (autovacuum_enabled)",
        evidence=rows([position], "relations"),
    )
