"""A case in at most eight lines for a chat that people outside the team may read.

Only what the kit's own words, the ladder and plain names say goes in. The messages of findings hold error texts and
values, so none of them does; a name or a stated cause that could be an address, a statement or a secret is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit import checks
from kit.analyze.document import FindingEntry, FindingsDocument, LayerEntry, ResultEntry
from kit.analyze.findings import LADDER
from kit.analyze.symptom import parse_symptom
from kit.case import folders
from kit.case.notes import held
from kit.errors import BundleError, UsageError
from kit.evidence import bundle
from kit.evidence.secrets import SHAPES

LINES = 8
LINE_LIMIT = 300
# What a name may belong to and be told; a statement, a session, a service account or an address is only counted.
_NAMED_KINDS = frozenset(
    "table view schema role column index function sequence relation database extension migration revision policy service"
    " setting fault secret instance".split()
)
# Without blanks, and no number: nothing that could be a sentence, a statement or a value.
_NAME = re.compile(r"(?=.*[^\W\d])[\w$-]{1,63}")
_NUMERIC = re.compile(r"\d{1,3}(?:[._-]\d{1,3}){3}|[0-9a-f]{24,}", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"(?<![-\d])\d{5,}")
# A project's number, an account's; a revision's has five digits. And what keys and tokens look like.
_KEYLIKE = re.compile(
    r"\d{6,}|\b(?:ya29|akia|aiza|ghp_|sk_live|xox[abp])|(?<![a-z\d])(?=[a-z\d]{10})\d*(?:[a-z]+\d+){2,}", re.IGNORECASE
)
# A machine named after its kind, a number to call, and words for a password.
_PRIVATE = re.compile(
    r"\b(?:host|hostname|server|ip|machine|vm)\s+\S*[\d-]|\+\d|\b(?:passw|pwd\b|passphrase|pw\b)|\b(?:token|secret|key)\s+\S*\d"
)
# An @, a URL, a path, a host of several parts or an IPv6 address; quotes and operators stand in statements.
_UNSAFE = re.compile(
    r"@|://|(?:^|\s)/\S|\w[.]\w[\w-]*[.]\w|\w[.](?:com|org|net|io|dev|app|internal|local|cloud)\b|::|[\"';=<>{}$*]"
)
_VERBS = re.compile(
    r"\bselect\s+[\d*(]|\b(?:select|insert|update|delete|alter|grant|revoke|create|drop|truncate|copy)\b.*\b(?:from|into|set|table|on|to)\b"
)
# The kit's own sentences put names of relations and roles in quotes.
_QUOTED_NAME = re.compile(r'"([a-z_][a-z0-9_]{0,62})"')
_NEXT = {
    "configuration": "mend the setting that the report names",
    "reachability": "find out, from where the service runs, why the server does not answer",
    "authentication": "compare user and password source of the service with what the server and the cloud grant",
    "database identity": "compare the database that the service names with the one that was migrated",
    "schema": "run the missing migrations against this database, after checking that it is the right one",
    "privileges": "apply the grants that the report prints",
    "row security": "decide which rows the role may see, and write the policy",
    "data integrity": "stop writing jobs, and follow the report",
    "capacity and performance": "relieve what the report names first",
    "change": "settle the failed change, then deploy again",
    "service": "look at the service: its revision, environment and log",
}


@dataclass(frozen=True, slots=True)
class Told:
    """A case told: the lines for people, and what they are made of."""

    case: str
    status: str
    layer: str | None
    broken: tuple[str, ...]
    since: str
    cleared: tuple[str, ...]
    not_examined: tuple[str, ...]
    refuted: tuple[str, ...]
    next_step: str
    as_of: str
    lines: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """Return it for programs."""
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in self.__slots__}


def status_of(case: str, reports: Path | None = None, now: datetime | None = None) -> Told:
    """Return the newest state of a case; UsageError where there is no such case, BundleError where it cannot be read."""
    parent = folders.reports_folder(reports)
    folder = parent / folders.checked_name(case)
    with held(parent):
        document, history = _read(folder, case), _history(folder)
        logged_at = _first_logged(document, folder)
    return told(document, history, now or datetime.now(UTC), logged_at)


def told(
    document: FindingsDocument, history: Sequence[FindingsDocument], now: datetime, logged_at: datetime | None = None
) -> Told:
    """Return the case told; `history` are the documents of its captures, the oldest first.

    `logged_at` is when the first of the errors was logged that break a layer.
    """
    layers = {status: [e for e in document.layers if e.status == status] for status in ("broken", "cleared", "not examined")}
    broken = tuple(_broken(entry, document) for entry in layers["broken"])
    cleared, unseen = (tuple(str(e.layer) for e in layers[name]) for name in ("cleared", "not examined"))
    refuted = tuple(h.statement.rstrip(".") for h in document.hypotheses if h.status == "refuted" and is_harmless(h.statement))
    since, step = _since(document, history, logged_at), _next_step(document)
    as_of = f"{_utc(document.finished_at)} (told {_utc(now)})"
    lines = [*_head(document, broken), f"Since: {since}.", f"Cleared: {_listed(cleared) or 'nothing'}."]
    lines += [f"Not examined: {_unseen(document, unseen)}."]
    lines += [f"Ruled out: {'; '.join(refuted)}."] if refuted else []
    lines += [f"Next: {step}.", f"As of {as_of}."]
    verdict = document.verdict
    cut = tuple(_cut(line) for line in lines[:LINES])
    return Told(document.case, verdict.status, verdict.layer, broken, since, cleared, unseen, refuted, step, as_of, cut)


def is_harmless(text: str) -> bool:
    """Return whether a text of people's own may be told: no address, statement, value or secret stands in it."""
    lowered = _QUOTED_NAME.sub(r"\1", text).lower()
    is_secret = "password" in lowered or any(re.search(shape, text) for _, shape in SHAPES)
    is_unsafe = any(shape.search(lowered) for shape in (_UNSAFE, _NUMERIC, _LONG_NUMBER, _KEYLIKE, _PRIVATE, _VERBS))
    return lowered.isprintable() and not is_secret and not is_unsafe


def _head(document: FindingsDocument, broken: Sequence[str]) -> list[str]:
    status = document.verdict.status
    beside = _beside(document)
    if status == "broken":
        # The verdict says so only where every layer of the database was looked at and cleared.
        innocent = "NOT the database; " if document.verdict.summary.startswith("Not the database") else ""
        return [
            f"{document.case}: {innocent}BROKEN at {broken[0]}.",
            *([" ".join([*_also(broken[1:]), *beside])] if broken[1:] or beside else []),
        ]
    if status == "open":
        return [f"{document.case}: OPEN, no broken layer was found so far.", *beside]
    if document.symptom:
        return [f"{document.case}: NOT the database, as far as was looked: nothing here explains the symptom.", *beside]
    return [f"{document.case}: HEALTHY, no broken layer.", *beside]


def _also(broken: Sequence[str]) -> list[str]:
    """Return the further broken layers, with what broke them as far as it fits: none of them may be cut away."""
    words = "; ".join(broken)
    words = words if len(words) < LINE_LIMIT - 100 else ", ".join(item.partition(" (")[0] for item in broken)
    return [f"Also broken, further on: {words}."] if words else []


def _beside(document: FindingsDocument) -> list[str]:
    """Return what is critical in layers that it does not break: it cannot explain the symptom, and is there all the same."""
    broken = {entry.layer for entry in document.layers if entry.status in ("broken", "out of scope")}
    titles = [_title(result) for result, f in document.findings() if f.severity == "critical" and f.layer not in broken]
    return [f"Seen as well, without explaining the symptom: {'; '.join(list(dict.fromkeys(titles))[:2])}."] if titles else []


def _broken(entry: LayerEntry, document: FindingsDocument) -> str:
    """Return the layer with its first finding that explains it: the kit's title of the check, and the subject's plain name."""
    pairs = [pair for pair in document.findings() if pair[1].layer == entry.layer and pair[1].severity == "critical"]
    first = [pair for pair in pairs if pair[1].message == entry.reason] or pairs
    if not first:
        return str(entry.layer)
    result, _ = first[0]
    mine = [finding for other, finding in pairs if other.check == result.check]
    subjects = list(dict.fromkeys(name for finding in mine if (name := _subject(finding))))
    shown = f": {_listed(subjects[:3])}{f' and {len(subjects) - 3} more' if len(subjects) > 3 else ''}" if subjects else ""
    return f"{entry.layer} ({_title(result)}{shown})"


def _title(result: ResultEntry) -> str:
    check = checks.registry().get(result.check)
    title = check.title if check else result.check.replace("_", " ")
    return title[:1].lower() + title[1:]


def _subject(finding: FindingEntry) -> str | None:
    subject = finding.subject
    names = [name for name in (subject.schema_, subject.name) if name is not None]
    if subject.kind not in _NAMED_KINDS or not all(_is_plain(name) for name in names):
        return None
    where = f" in {subject.schema_}" if subject.schema_ else ""
    return f"{subject.kind} {subject.name}{where}"


def _is_plain(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not (_NUMERIC.search(name) or _KEYLIKE.search(name))


def _since(document: FindingsDocument, history: Sequence[FindingsDocument], logged_at: datetime | None) -> str:
    """Return since when it is so, as far as is known: window or log, the first capture that shows it, the change before."""
    begin, known_by = (
        document.window.since or logged_at,
        "the case's window" if document.window.since else "the first error logged",
    )
    window = f"{_utc(begin)}, by {known_by}" if begin else "not known; no window was given"
    first = _first_seen(document, history)
    seen = f"; first seen by the kit {_utc(first.started_at)}" if first else ""
    before = [c for c in document.changes if c.kind != "note" and c.at <= (begin or document.started_at)]
    last = max(before, key=lambda change: change.at, default=None)
    change = f"; the last known change before it: {last.kind}, {_utc(last.at)}" if last and begin else ""
    if document.verdict.status == "healthy" and not (begin or document.symptom):
        return "nothing is known to be broken"
    return window + seen + change


def _first_logged(document: FindingsDocument, folder: Path) -> datetime | None:
    """Return when the first error was logged that breaks a layer, by the newest capture; None where no log tells."""
    found = [pair for pair in document.findings() if pair[0].check == "logged_errors" and pair[1].severity == "critical"]
    if not found:
        return None
    try:
        taken = bundle.load(folders.captures(folder)[-1])
        frames = [(taken.source(result.source).evidence[f.evidence.name].frame, f.evidence.rows) for result, f in found]
    except (BundleError, LookupError):
        return None
    return min((frame["at"].iloc[rows].min().to_pydatetime() for frame, rows in frames), default=None)


def _first_seen(document: FindingsDocument, history: Sequence[FindingsDocument]) -> FindingsDocument | None:
    """Return the first of the captures, back from the newest, that came to the same broken layer."""
    if document.verdict.status != "broken":
        return None
    first = document
    for earlier in reversed(history):
        if (earlier.verdict.status, earlier.verdict.layer) != (document.verdict.status, document.verdict.layer):
            break
        first = earlier
    return first


def _unseen(document: FindingsDocument, unseen: Sequence[str]) -> str:
    outside = [str(entry.layer) for entry in document.layers if entry.status == "out of scope"]
    scope = f"out of scope: {_listed(outside)}" if outside else ""
    return "; ".join(part for part in (_listed(unseen) or "nothing in scope", scope) if part)


def _next_step(document: FindingsDocument) -> str:
    verdict = document.verdict
    report = f"(report of the case {document.case})"
    if verdict.status == "broken" and verdict.layer:
        return f"{_NEXT[verdict.layer]} {report}"
    unseen = [str(entry.layer) for entry in document.layers if entry.status == "not examined"]
    if verdict.status == "open" and unseen == ["service"]:
        return f"make the request that failed once more, and read the service's log: nothing below it is broken {report}"
    if verdict.status == "open" and unseen:
        return f"let the kit see {_listed(unseen)}: the report says what kept it away {report}"
    symptom = parse_symptom(document.symptom)
    if verdict.status == "open":
        return f"ask which role and database the application really connects with {report}"
    if symptom is not None:
        return f"look at the service: its revision, environment and log {report}"
    return "none needed"


def _read(folder: Path, case: str) -> FindingsDocument:
    path = folder / folders.FINDINGS
    if not path.is_file():
        hint = f"Make it: kit run {case} --target T"
        raise UsageError(f"There is no report of a case {case!r} in {folder.parent.name}/.", hint)
    document = _document(path)
    if document is None:
        raise BundleError(f"The findings of the case {case!r} cannot be read.", f"Judge it again: kit run {case}.")
    return document


def _history(folder: Path) -> list[FindingsDocument]:
    found = (_document(path / folders.FINDINGS) for path in folders.captures(folder))
    return [document for document in found if document is not None]


def _document(path: Path) -> FindingsDocument | None:
    try:
        return FindingsDocument.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names) if len(names) < len(LADDER) else "every layer"


def _cut(line: str) -> str:
    return line if len(line) <= LINE_LIMIT else line[: LINE_LIMIT - 2] + "…."
