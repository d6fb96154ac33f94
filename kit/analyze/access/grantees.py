"""Numbers for those who may be granted something, and the words for how a role comes to hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from kit.analyze.access.predefined import GIVEN
from kit.analyze.access.role_graph import DATABASE_OWNER
from kit.analyze.findings import quoted

Places = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]
_Some = Places | Numbers | int

# In the order in which they are named where a role is in several.
PREDEFINED = tuple(GIVEN)
_ON_COLUMNS = "on some columns"


class Grantees:
    """Numbers for all who may be granted something: the roles in order, PUBLIC, and a role dropped meanwhile.

    A slot tells, with the grantee, whether it is the object's owner and whether the grant is on a column only.
    """

    def __init__(self, roles: Sequence[str]) -> None:
        self.roles = tuple(roles)
        self.public = len(self.roles)
        self.unknown = self.public + 1
        self.slots = 4 * (self.unknown + 1)
        self._index = pd.Index(list(roles), dtype=object)

    def place(self, role: str) -> int:
        """Return the number of a role; KeyError if there is none."""
        return int(self._index.get_loc(role))

    def places(self, names: pd.Series) -> Places:
        """Return the numbers of these grantees; a missing name is PUBLIC."""
        found = self._index.get_indexer(pd.Index(names.astype(object)))
        found[found < 0] = self.unknown
        found[names.isna().to_numpy(dtype=bool)] = self.public
        return np.asarray(found, dtype=np.intp)


def slot(grantees: _Some, *, is_owner: Flags | bool = False, is_column: bool = False) -> Places:
    """Return the slots of grantees."""
    slots: Places = np.asarray(grantees) * 4 + 2 * int(is_column) + np.asarray(is_owner, dtype=np.intp)
    return slots


@dataclass(frozen=True, slots=True)
class Granted:
    """Who holds each of `count` cells: the slots of the cell `cells[i]` begin at `starts[i]`.

    `given` are the cells that each of the predefined roles holds without a grant.
    """

    count: int
    cells: Places
    starts: Places
    slots: Places
    given: Mapping[str, Places]


class Words:
    """Every way to hold a privilege, in words; an array has one place a role."""

    def __init__(self, roles: Sequence[str], groups: Iterable[str]) -> None:
        fixed = ("superuser", "owner", "grant", f"grant {_ON_COLUMNS}", "PUBLIC", f"PUBLIC {_ON_COLUMNS}", *PREDEFINED)
        self.superuser, self.owner, self.grant, self.column_grant, self.public, self.public_columns = range(6)
        self.predefined = dict(zip(PREDEFINED, range(6, len(fixed)), strict=True))
        # A role without members is a way for nobody but itself.
        have_members = {*groups, DATABASE_OWNER}
        places = [place for place, role in enumerate(roles) if role in have_members]
        named = [quoted(roles[place]) for place in places]
        self._codes = {word: code for code, word in enumerate(fixed)}
        self.owner_through = self._added(len(roles), places, [f"owner through {name}" for name in named])
        self.granted_to = self._added(len(roles), places, [f"grant to {name}" for name in named])
        self.columns_granted_to = self._added(len(roles), places, [f"grant to {name} {_ON_COLUMNS}" for name in named])
        self.became = self._added(len(roles), places, named)

    @property
    def all(self) -> list[str]:
        """Return the words by their codes, no word twice: a role may be called "owner"."""
        return list(self._codes)

    def _added(self, count: int, places: Sequence[int], words: Sequence[str]) -> Numbers:
        found = np.full(count, -1, dtype=np.int32)
        found[places] = [self._codes.setdefault(word, len(self._codes)) for word in words]
        return found


class Standing:
    """What one role stands for: a key for every slot, the smaller the nearer, and the words for every key.

    A privilege on the whole object comes before one on columns; then what is its own, its memberships by distance,
    PUBLIC, and the predefined roles.
    """

    def __init__(self, grantees: Grantees, words: Words, members: Sequence[str]) -> None:
        self._columns = 2 * (len(grantees.roles) + 1 + len(PREDEFINED))
        self.none = 2 * self._columns
        self._keys = np.full(grantees.slots, self.none, dtype=np.int32)
        self.words = np.zeros(self.none + 1, dtype=np.int32)
        self._add_members(np.array([grantees.place(name) for name in members], dtype=np.intp), words)
        self._add(2 * len(members), grantees.public, words.public, words.public_columns)
        inherited = [name for name in PREDEFINED if name in members]
        self._predefined = {name: 2 * (len(members) + 1 + rank) for rank, name in enumerate(inherited)}
        for name, key in self._predefined.items():
            self.words[key] = words.predefined[name]

    def keys(self, granted: Granted) -> Numbers:
        """Return, for every cell, the key of the nearest way to hold the privilege, or `none`."""
        found = np.full(granted.count, self.none, dtype=np.int32)
        if len(granted.cells):
            found[granted.cells] = np.minimum.reduceat(self._keys[granted.slots], granted.starts)
        for name, key in self._predefined.items():
            found[granted.given[name]] = np.minimum(found[granted.given[name]], key)
        return found

    def _add_members(self, places: Places, words: Words) -> None:
        keys = 2 * np.arange(len(places))
        self._keys[slot(places, is_owner=True)], self.words[keys] = keys, words.owner_through[places]
        self._add(keys + 1, places, words.granted_to[places], words.columns_granted_to[places])
        if len(places):
            self.words[0] = words.owner
            self._add(1, places[0], words.grant, words.column_grant)

    def _add(self, key: _Some, place: _Some, word: _Some, column_word: _Some) -> None:
        """Put in a grantee, or several."""
        self._keys[slot(place)], self.words[key] = key, word
        self._keys[slot(place, is_column=True)], self.words[self._columns + key] = self._columns + key, column_word
