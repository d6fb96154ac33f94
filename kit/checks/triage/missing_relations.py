"""The relation that the symptom names is not in this database.

What it shows: that no table, view or sequence of any schema of this database has exactly the name in the error, whoever
asks; and whether one has the same name in other letters.

Why it matters: "relation does not exist" has two families of causes. Here it is true of the whole database: the
migration ran elsewhere, failed or never ran, or the name was written in other letters. Where the relation exists, the
error comes from search_path or privileges, and this check stays silent.

What to do: run the migrations against this database, after checking that it is the right one; or write the name in
double quotes, as it was created.

Known limits: looks only at the databases of the target. A relation that exists in another schema than the one the
symptom names counts as existing. Temporary tables of other sessions count too.

References: https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS and
https://www.postgresql.org/docs/current/errcodes-appendix.html (42P01)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from kit.analyze.findings import Examined, Finding, Judgement, Subject, quoted
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "schema"
NEEDS = ("relations", "symptom")
SEVERITIES = ("critical",)
EXPLAINS = ("42P01",)
EXPLAINS_ABSENCE = True


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding if the symptom says a relation does not exist, and it does not."""
    relations = frames["relations"].reset_index(drop=True)
    for position, symptom in enumerate(records(frames["symptom"])):
        name = symptom["relation_name"]
        # Of other symptoms ("permission denied for table …") the absence is no explanation.
        if name is None or "42P01" not in (symptom["sqlstates"] or []):
            continue
        yield Examined(1)
        if not (relations["relation_name"] == name).any():
            yield _finding(frames, position, symptom["schema_name"], name, relations)


def _finding(frames: Frames, position: int, schema: str | None, name: str, relations: pd.DataFrame) -> Finding:
    variants = relations[relations["relation_name"].str.lower() == name.lower()]
    message, remedy = _variant(name, variants) if len(variants) else _absent(frames, name)
    return Finding(
        severity="critical",
        subject=Subject("table", name, schema),
        message=message,
        remedy=remedy,
        evidence=rows(list(variants.index), "relations") if len(variants) else rows([position], "symptom"),
        relations=frozenset({name}),
    )


def _variant(name: str, variants: pd.DataFrame) -> tuple[str, str]:
    row = variants.iloc[0]
    found = f"{quoted(row['schema_name'])}.{quoted(row['relation_name'])}"
    message = (
        f"No relation is named {quoted(name)} in this database, but the {row['kind']} {found} is there: "
        "names that are not quoted are folded to lower case."
    )
    return (
        message,
        f"Write the name in the statement as {found} (in the ORM: map the model to that name), or rename the {row['kind']}.",
    )


def _absent(frames: Frames, name: str) -> tuple[str, str]:
    database = frames.identity.database if frames.identity else "this database"
    message = f"No schema of database {quoted(database)} has a relation named {quoted(name)}, in any spelling. {_ledgers(frames)}"
    return message.strip(), (
        "Check that this is the database the migrations ran in (compare host and database name with those of the migration job); "
        "then run the migrations here."
    )


def _ledgers(frames: Frames) -> str:
    if "migration_ledgers" not in frames:
        return ""
    found = [
        f"{quoted(row['schema_name'])}.{quoted(row['relation_name'])} ({row['tool']})"
        for row in records(frames["migration_ledgers"])
    ]
    if not found:
        return "It has no migration ledger either: the migrations never ran here."
    return f"Its migration ledger is {', '.join(found)}: see what it records."
