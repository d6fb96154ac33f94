"""The rows of evidence that an answer about access stands on: what is granted on the object, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from typing_extensions import override

from kit.analyze.access.explanation import Explanation, GateName
from kit.analyze.findings import quoted
from kit.evidence.model import Frames
from kit.present.access_words import NAME_LIMIT, one_line, place_of
from kit.present.displays import Display
from kit.present.markup import Markup, element, paragraph
from kit.present.tables import Table
from kit.present.text import counted

PROOF_ROWS = 12

# What each gate is judged by.
_EVIDENCE: dict[GateName, tuple[str, ...]] = {
    "login": ("roles",),
    "connect": ("database_grants",),
    "name resolution": ("role_settings",),
    "schema usage": ("schema_grants",),
    "object privilege": ("relations", "relation_grants"),
    "column privilege": ("column_grants",),
    "row security": ("relations", "policies"),
    "sequence": ("sequence_uses",),
}
_WITHOUT_FAILURE: tuple[GateName, ...] = ("schema usage", "object privilege", "row security")
# Identifiers of rows and numbers for other questions; people compare names.
_LEFT_OUT = frozenset(
    "relation_oid estimated_rows estimated_pages frozen_xid_age catalog_changed_xid_age options persistence is_partition"
    " has_default_acl sequence_oid using_expression check_expression".split()
)


@dataclass(frozen=True, slots=True)
class ProofView(Display):
    """The rows of one frame that concern the question, those of the role marked; that there is none is a proof too."""

    words: str
    frame: pd.DataFrame
    marked: tuple[int, ...] = ()

    @override
    def html(self) -> Markup:
        table = self._table().html() if len(self.frame) else Markup("")
        return element("div", paragraph(self.words, style="margin:6px 0;font-size:90%"), table, css="kit-listing")

    @override
    def text(self) -> str:
        return "\n".join([self.words, *([self._table().text()] if len(self.frame) else [])])

    def _table(self) -> Table:
        shown = self.frame[[name for name in self.frame.columns if name not in _LEFT_OUT]]
        return Table(shown, limit=PROOF_ROWS, marked=self.marked)


def proof(explanation: Explanation, frames: Frames) -> list[ProofView]:
    """Return the evidence behind the gates that failed; where none did, behind those that let the role through."""
    failed = tuple(gate.name for gate in explanation.gates if gate.status == "failed")
    names = dict.fromkeys(name for gate in failed or _WITHOUT_FAILURE for name in _EVIDENCE.get(gate, ()))
    return [_view(explanation, name, frames) for name in names if name in frames]


def _view(explanation: Explanation, name: str, frames: Frames) -> ProofView:
    frame = frames[name]
    concerned = frame[_concerns(explanation, frame)].reset_index(drop=True)
    marked = tuple(place for place, is_own in enumerate(_is_own(explanation, concerned, frames)) if is_own)
    subject = f"{name}, of {counted(len(frame), 'row')}"
    if concerned.empty:
        return ProofView(f"{subject}: none is about {_subject(explanation, frame)}.", concerned)
    none_own = "" if marked or "grantee_name" not in frame else f"; none of them is for {_role(explanation)} or for everybody"
    return ProofView(f"{subject}: {len(concerned)} about {_subject(explanation, frame)}{none_own}.", concerned, marked)


def _concerns(explanation: Explanation, frame: pd.DataFrame) -> pd.Series:
    wanted = pd.Series(True, index=frame.index)
    for column, value in _keys(explanation, frame):
        # A setting of no role in particular holds for every one.
        wanted &= (frame[column] == value).fillna(column == "role_name").astype(bool)
    if "setting_name" in frame:
        wanted &= frame["setting_name"] == "search_path"
    return wanted


def _keys(explanation: Explanation, frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the columns that name the object (or, where none does, the role), with the values looked for."""
    schema, name = place_of(explanation)
    is_schema = explanation.question.kind == "schema"
    if "schema_name" in frame and (schema or is_schema):
        yield "schema_name", name if is_schema else str(schema)
    if "relation_name" in frame:
        yield "relation_name", name
    if "role_name" in frame and "schema_name" not in frame:
        yield "role_name", explanation.question.role


def _is_own(explanation: Explanation, frame: pd.DataFrame, frames: Frames) -> list[bool]:
    if "grantee_name" not in frame:
        return [False] * len(frame)
    own = _standing(explanation.question.role, frames)
    # A grantee that is null is everybody: PUBLIC.
    return [bool(pd.isna(name)) or name in own for name in frame["grantee_name"]]


def _standing(role: str, frames: Frames) -> set[str]:
    """Return the role and those whose privileges it has by membership."""
    found, waiting = {role}, [role]
    while waiting and "role_memberships" in frames:
        member, pairs = waiting.pop(), frames["role_memberships"]
        new = set(pairs.loc[(pairs["member_name"] == member) & pairs["inherits"].astype(bool), "role_name"]) - found
        found |= new
        waiting.extend(new)
    return found


def _subject(explanation: Explanation, frame: pd.DataFrame) -> str:
    schema, name = place_of(explanation)
    known: list[tuple[str, Callable[[], str]]] = [
        ("relation_name", lambda: explanation.object_name or name),
        ("schema_name", lambda: f"schema {quoted(schema or name)}"),
        ("role_name", lambda: _role(explanation)),
    ]
    return next((one_line(words(), NAME_LIMIT) for column, words in known if column in frame), "it")


def _role(explanation: Explanation) -> str:
    return one_line(quoted(explanation.question.role), NAME_LIMIT)
