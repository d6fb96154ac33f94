"""From answers to a source: the same masks, frames and gaps as a direct capture makes of the same rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from kit.collect import masking
from kit.collect.asking import Propose
from kit.collect.attempt import COLUMNS as STEP_COLUMNS
from kit.collect.elsewhere import total
from kit.collect.forms.other_databases import ELSEWHERE, elsewhere
from kit.collect.forms.reading import Answers, ImportedFileError, by_name
from kit.collect.forms.runs import END, database_of, runs
from kit.collect.forms.seen import SEEN
from kit.collect.forms.statements import LOCKED, MIGRATIONS, ROWS, digest, sent_text
from kit.collect.forms.values import Whole, covered_seconds, typed, whole
from kit.collect.queries import FactQuery, choose, fact_queries, probes
from kit.collect.rows import CONNECTION_COLUMNS, dated, evidence_of, identity_of, joined, tagged
from kit.collect.secrecy import secrecy_of
from kit.errors import EvidenceMismatch
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Cost, Evidence, Gap, GapKind, ProbeRequest, Source, provenance

NAME = "database"
_STEPS = "connection_steps"
_FIRST = ("session", "settings", "extensions")
_SQLSTATE = re.compile(r"[0-9A-Z]{5}\Z", re.ASCII)
_REASONS: Mapping[str, tuple[GapKind, str]] = {
    "42501": ("not permitted", "the server did not permit it"),
    "57014": ("timed out", "it was cancelled, by its time limit or by somebody"),
    "55P03": ("locked", "something that it reads was locked"),
    "42P01": ("unsupported", "something that it reads is not there"),
}
_BLIND = Gap(kind="not permitted", reason="the ledger may not be read, or not all of its rows")
_LOCKED = Gap(kind="locked", reason="another session holds a lock on the ledger")
_NO_ANSWER = Gap(kind="not given", reason="the file holds no answer to it")
_NOT_REACHED = Gap(kind="not reached", reason="the server was not reached")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The source of imported files, the collector's form, when it began and ended, in UTC, and what it cost the server."""

    source: Source
    form: str
    started_at: datetime
    finished_at: datetime
    cost: Cost


@dataclass(slots=True)
class _State:
    """What has come out of the answers so far."""

    answers: Answers
    wholes: dict[str, Whole] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    gaps: dict[str, Gap] = field(default_factory=dict)


def rebuilt(answers: Answers, propose: Propose) -> Rebuilt:
    """Return what the answers say; `propose` names the probes whose answers are looked for, as in a capture.

    Where several databases of a server answered, the first one is the source, and the others what it is told of them.
    Raises ImportedFileError where not one answer of the first can be used.
    """
    first, *more = runs(answers)
    state = _state(first, propose)
    if not state.wholes:
        raise ImportedFileError("The file holds no answer that can be used.", "Run the collector again.")
    others = [other for item in more if (other := _state(item, propose)).wholes]
    _elsewhere(state, others)
    _whole_file(state)
    identity, about = identity_of(state.evidence), first.found[0].about
    found = Source(NAME, "postgres", about["vantage"], identity, dated(state.evidence), state.gaps)
    wholes = [item for each in (state, *others) for item in each.wholes.values()]
    started, finished = min(w.at for w in wholes), max(w.until for w in wholes)
    cost = total([_cost(each) for each in (state, *others)])
    return Rebuilt(secrecy_of([], [identity]).source(found), about["form"], started, finished, cost)


def _state(answers: Answers, propose: Propose) -> _State:
    """Return all that the answers of one database make; nothing where none of them can be used."""
    state = _State(answers)
    _put_together(state)
    if state.wholes:
        _connection(state)
        for name in (*_FIRST, *sorted(fact_queries().keys() - set(_FIRST))):
            _fact(state, name)
        _migrations(state, propose({name: item.frame for name, item in state.evidence.items()}))
        _seen(state)
    return state


def _cost(state: _State) -> Cost:
    asked = [item for name, item in state.wholes.items() if name in fact_queries() or name == MIGRATIONS]
    milliseconds = round(covered_seconds(span for item in asked for span in item.spans) * 1000, 1)
    return Cost(statements=len(asked), server_ms=milliseconds, rows=sum(len(item.rows) for item in asked))


def _put_together(state: _State) -> None:
    """Put the pages of every answer together; what cannot be is a gap."""
    for name, parts in by_name(state.answers):
        if name in fact_queries() or name == MIGRATIONS:
            asked = {part.about.get("query") for part in parts}
            if asked != {digest(name)}:
                reason = f"kit {parts[0].about['kit']} asked otherwise than this one; print the collector anew"
                state.gaps[name] = Gap(kind="unsupported", reason=reason)
                continue
        try:
            state.wholes[name] = whole(parts)
        except EvidenceMismatch as error:
            state.gaps[name] = _mismatch(error)
    for name in state.answers.damaged:
        state.gaps.setdefault(name or "capture", Gap(kind="failed", reason="its answer is damaged or cut"))


def _mismatch(error: EvidenceMismatch) -> Gap:
    return Gap(kind="failed", reason=masking.message(error.message))


def _fact(state: _State, name: str) -> None:
    """Turn one fact query's answer into evidence, or say why there is none."""
    if not _is_connected(state):
        state.gaps.setdefault(name, _NOT_REACHED)
        return
    query, schemas = _variant(state, name)
    if name in state.wholes:
        _keep(state, query, schemas)
    elif name not in state.gaps:
        state.gaps[name] = _refusal(state, name) or _unsupported(state, name) or _NO_ANSWER
    if name == "settings" and name in state.evidence:
        _hidden_settings(state)


def _keep(state: _State, query: FactQuery, identifiers: Mapping[str, str]) -> None:
    item = state.wholes[query.name]
    try:
        found = evidence_of(query, sent_text(query, identifiers), item.at, item.seconds, typed(query.columns, item.rows[:ROWS]))
    except EvidenceMismatch as error:
        state.gaps[query.name] = _mismatch(error)
        return
    about = found.provenance.model_copy(update={"truncated": len(item.rows) > ROWS})
    state.evidence[query.name] = replace(found, provenance=about)


def _variant(state: _State, name: str) -> tuple[FactQuery, dict[str, str]]:
    """Return the variant that the server chose, and the extensions' schemas as the psql variables of its text."""
    frame = state.evidence["extensions"].frame if "extensions" in state.evidence else None
    versions = dict(zip(frame["extension_name"], frame["version"], strict=True)) if frame is not None else {}
    schemas = {f"{row.extension_name}_schema": row.schema_name for row in frame.itertuples()} if frame is not None else {}
    variants = fact_queries()[name]
    schemas.setdefault(f"{variants[0].extension}_schema", "unknown")
    return choose(variants, _server_major(state), versions) or variants[-1], schemas


def _server_major(state: _State) -> int:
    session = state.evidence.get("session")
    return int(session.frame["server_version_number"].iloc[0]) // 10_000 if session is not None else 13


def _unsupported(state: _State, name: str) -> Gap | None:
    extension = fact_queries()[name][0].extension
    if extension is None or "extensions" not in state.evidence:
        return None
    if extension not in set(state.evidence["extensions"].frame["extension_name"]):
        return Gap(kind="unsupported", reason=f"the extension {extension} is not installed in this database")
    frame = state.evidence["extensions"].frame
    if choose(fact_queries()[name], _server_major(state), dict(zip(frame["extension_name"], frame["version"], strict=True))):
        return None
    wants = ".".join(map(str, fact_queries()[name][-1].since))
    return Gap(kind="unsupported", reason=f"needs {extension} {wants}")


def _refusal(state: _State, name: str) -> Gap | None:
    """Return what the server said to a statement without an answer; None where the file does not tell."""
    said = [item.about for item in state.answers.found if item.name == name and item.rows is None]
    codes = [code for item in said if _SQLSTATE.match(code := str(item.get("sqlstate", ""))) and code != "00000"]
    if not codes:
        return None
    kind, words = _REASONS.get(codes[-1], ("failed", "the server refused it"))
    told = next((str(item["message"]) for item in reversed(said) if item.get("message")), words)
    return Gap(kind=kind, reason=f"{masking.message(told)} ({codes[-1]})")


def _hidden_settings(state: _State) -> None:
    if "data_directory" not in set(state.evidence["settings"].frame["setting_name"]):
        reason = "settings that only members of pg_read_all_settings see, such as data_directory, were hidden"
        state.gaps["settings:hidden"] = Gap(kind="not permitted", reason=reason)


def _migrations(state: _State, requests: Sequence[ProbeRequest]) -> None:
    """Give every ledger that a probe is proposed for its entries, or its gap."""
    item, parts = state.wholes.get(MIGRATIONS), []
    entries = _entries(item) if item is not None else {}
    for request in requests:
        rows = entries.get(tuple(value for _, value in request.tags), [])
        try:
            parts.append(_ledger(request, item, rows) if item is not None else None)
        except EvidenceMismatch as error:
            state.gaps[f"{request.evidence}:{request.subject}"] = _mismatch(error)
            continue
        if parts[-1] is None:
            blind = _LOCKED if [LOCKED] in rows else _BLIND
            gap = blind if item is not None else _refusal(state, MIGRATIONS) or state.gaps.get(MIGRATIONS, _NO_ANSWER)
            state.gaps[f"{request.evidence}:{request.subject}"] = gap
    found = [part for part in parts if part is not None]
    if found:
        state.evidence[MIGRATIONS] = joined(found)


def _entries(item: Whole) -> dict[tuple[str, ...], list[list[object]]]:
    """Return the entries by tool, schema and relation; a ledger that could not be read has an entry of no values."""
    found: dict[tuple[str, ...], list[list[object]]] = {}
    for row in item.rows:
        schema, relation, tool = (str(value) for value in (*row, "", "", "")[:3])
        found.setdefault((tool, schema, relation), []).append(row[3:])
    return found


def _ledger(request: ProbeRequest, item: Whole, rows: list[list[object]]) -> Evidence | None:
    if [] in rows or [LOCKED] in rows:
        return None
    query = probes()[request.probe][0]
    text = sent_text(query, request.identifiers)
    return tagged(evidence_of(query, text, item.at, item.seconds, typed(query.columns, rows)), request)


def _connection(state: _State) -> None:
    """Keep the Python form's attempt to connect; the other forms were connected by somebody else, if anything came."""
    about, files = state.answers.found[0].about, ", ".join(_files(state.answers))
    text = f"{files}: the answers of a collector of form {about['form']}, made by kit {about['kit']}"
    given = state.wholes.get("connection")
    rows = given.rows if given else [[True, None, None, None, None, None, None]]
    at = given.at if given else min(item.at for item in state.wholes.values())
    _frame(state, "connection", ("Connection", "one row per attempt", CONNECTION_COLUMNS), rows, text, at)


def _files(answers: Answers) -> Iterator[str]:
    return (f"{name} (SHA-256 {sha256})" for name, sha256 in answers.digests.items())


def _is_connected(state: _State) -> bool:
    if "connection" not in state.evidence:
        return False
    frame = state.evidence["connection"].frame
    return len(frame) > 0 and bool(frame["is_connected"].fillna(False).iloc[0])


def _seen(state: _State) -> None:
    for name, about in {**SEEN, _STEPS: ("Connection, step by step", "one row per step", STEP_COLUMNS)}.items():
        if name in state.wholes:
            _frame(state, name, about, state.wholes[name].rows, f"{name} of the job", state.wholes[name].at)


def _frame(
    state: _State, name: str, about: tuple[str, str, tuple[Column, ...]], rows: Sequence[object], text: str, at: datetime
) -> None:
    title, grain, columns = about
    try:
        frame = build_frame(columns, typed(columns, rows))
    except EvidenceMismatch as error:
        state.gaps[name] = _mismatch(error)
        return
    seconds = state.wholes[name].seconds if name in state.wholes else 0.0
    state.evidence[name] = Evidence(frame, columns, provenance(title, grain, text, at, seconds, len(frame)))


def _elsewhere(state: _State, others: Sequence[_State]) -> None:
    """Add what the other databases of the server hold, as far as the collector was run in them."""
    answered = {name: each.evidence for each in others if (name := database_of(each.answers))}
    if not _is_connected(state):
        state.gaps |= dict.fromkeys(ELSEWHERE, _NOT_REACHED)
        return
    found, gaps = elsewhere(state.evidence, state.gaps, answered)
    state.evidence |= found
    state.gaps |= gaps


def _whole_file(state: _State) -> None:
    """Say where the end is missing."""
    is_pasted = state.answers.found[0].about["form"] == "paste"
    if not is_pasted and not any(answer.name == END for answer in state.answers.found):
        state.gaps["capture"] = Gap(kind="failed", reason="the file ends before the collector did")
