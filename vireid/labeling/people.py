"""Who is who so far: tracks in groups, as they were proposed and as the answers changed them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.boundary.names import look, plain_name
from vireid.boundary.paths import is_name
from vireid.errors import Conflict, VireidError, WrongValue
from vireid.labeling.journal import Answer
from vireid.labeling.tracks import Track

Rows = tuple[int, ...]
MAX_PROBLEMS = 3


class Contradiction(Conflict):
    """An answer that contradicts another one or the times; it is applied only if it is confirmed."""


@dataclass(frozen=True)
class TrackPair:
    """Two sets of tracks about which an answer says whether they show one person."""

    first: Rows
    second: Rows
    same: bool


class People:
    """The groups of tracks, changed by one answer after the other.

    Args:
        tracks: the tracks.
        groups: (T,) int, the proposed group of each track.
        impossible: (T, T) bool, the tracks that overlap in time; see `overlapping`.

    Attributes:
        groups: (T,) int, the group of each track now; a number is never used again.
        people: (T,) int, the number of the person of each track, from 1; 0 while its group is unconfirmed.
        typed: (T,) the name that the user gave to a track; empty otherwise.
        apart: (T, T) bool, the tracks that cannot be of one person: they overlap in time, or an answer says so.
        pairs: what the answers say about pairs.
        skips: how often each group was skipped, by its rows.
        refused: a line for each answer that was not used, since it contradicts others.
    """

    def __init__(self, tracks: Sequence[Track], groups: np.ndarray, impossible: np.ndarray) -> None:
        self.tracks = tracks
        self.groups = groups.copy()
        self.people = np.zeros(len(tracks), dtype=np.int64)
        self.typed = np.full(len(tracks), '', dtype=object)
        self.impossible, self.apart = impossible, impossible.copy()
        self.pairs: list[TrackPair] = []
        self.skips: dict[Rows, int] = {}
        self.refused: list[str] = []
        self._row = {track.name: row for row, track in enumerate(tracks)}
        self._next_group, self._next_person = int(groups.max()) + 1, 1

    def members(self) -> list[Rows]:
        """Returns the rows of each group, in the order of their first tracks."""
        groups: dict[int, list[int]] = {}
        for row, group in enumerate(self.groups.tolist()):
            groups.setdefault(group, []).append(row)
        return [tuple(rows) for rows in groups.values()]

    def name(self, rows: Rows) -> str:
        """Returns the name of the person of a group; empty while the group is unconfirmed."""
        typed = next((name for name in self.typed[list(rows)] if name), '')
        number = self.people[rows[0]]
        return typed or (f'person-{number:03d}' if number else '')

    def replay(self, answers: Iterable[tuple[int, Answer]]) -> None:
        """Applies answers that were given before; a contradictory one is only listed in `refused`."""
        for number, given in answers:
            try:
                self.apply(given)
            except VireidError as error:
                self.refused.append(f'answer {number} of {given["time"]}: {error.given}')

    def apply(self, given: Answer) -> None:
        """Changes the groups as an answer says; tracks that no longer exist are ignored.

        Raises:
            Contradiction: if it contradicts what is known and was not confirmed; nothing changes.
            VireidError: if a name is invalid.
        """
        tracks = self._rows(given['tracks'])
        if not tracks:
            return
        if given['kind'] == 'skip':
            self.skips[tracks] = self.skips.get(tracks, 0) + 1
        elif given['kind'] == 'name':
            self._rename(tracks, plain_name(given['name']), given['despite'])
        elif given['kind'] == 'people':
            same = [rows for names in given['same'] if (rows := self._rows(names))]
            different = [rows for names in given['different'] if (rows := self._rows(names))]
            self._join(tracks, same, different, given['despite'])

    def _rows(self, names: Sequence[str]) -> Rows:
        return tuple(sorted({self._row[name] for name in names if name in self._row}))

    def _join(self, tracks: Rows, same: Sequence[Rows], different: Sequence[Rows], despite: bool) -> None:
        given = {row for rows in (tracks, *same) for row in rows}
        out = [tuple(row for row in rows if row not in given) for rows in different]
        before = set(self.groups[list(given)].tolist())
        touched = np.isin(self.groups, list(before))
        others = {row for rows in out for row in rows}
        # confirmed tracks stay in their group; tracks that were only proposed do not
        joined = tuple(sorted(given | (set(np.flatnonzero(touched & (self.people > 0)).tolist()) - others)))
        parted = [row for row in others if touched[row]]
        if not despite and (problems := self._problems(joined, parted)):
            raise Contradiction('; '.join(problems[:MAX_PROBLEMS]), todo='confirm the answer, or correct it')
        names = [name for rows in (tracks, joined) for name in self.typed[list(rows)] if name]
        numbers = [number for rows in (tracks, joined) for number in self.people[list(rows)].tolist() if number]
        for part in out:
            if taken := [row for row in part if touched[row]]:
                self.groups[taken], self.people[taken], self.typed[taken] = self._new_group(), 0, ''
        rest = np.isin(self.groups, list(before))
        rest[list(joined)] = False
        for group in np.unique(self.groups[rest]):  # proposed with these tracks, but not mentioned by the answer
            self.groups[rest & (self.groups == group)] = self._new_group()
        if not numbers:
            numbers, self._next_person = [self._next_person], self._next_person + 1
        every = list(joined)
        self.groups[every], self.people[every] = self._new_group(), numbers[0]
        self.typed[every] = names[0] if names else ''
        self.pairs += [TrackPair(tracks, rows, True) for rows in same] + [
            TrackPair(tracks, rows, False) for rows in out if rows
        ]
        self.apart[np.ix_(joined, joined)] = False  # confirmed answers stay valid
        for rows in out:
            self.apart[np.ix_(joined, rows)] = self.apart[np.ix_(rows, joined)] = True

    def _problems(self, joined: Rows, parted: Sequence[int]) -> list[str]:
        """Returns what the times and earlier answers say against joining tracks, and parting others from them."""
        problems = []
        block = np.ix_(joined, joined)
        for first, second in np.argwhere(np.triu(self.apart[block])).tolist()[:MAX_PROBLEMS]:
            pair = f'{self.tracks[joined[first]].name} and {self.tracks[joined[second]].name}'
            overlap = self.impossible[joined[first], joined[second]]
            why = f'{pair} overlap in time in one camera' if overlap else f'an earlier answer says that {pair}'
            problems.append(f'{why}, so they show two people' if overlap else f'{why} show different people')
        names = list(dict.fromkeys(name for name in self.typed[list(joined)] if name))
        if len(names) > 1:
            problems.insert(0, f'one person would have two names, {names[0]} and {names[1]}')
        if any(self.people[parted]):
            problems.append(f'an earlier answer says that {self.tracks[parted[0]].name} shows the same person')
        return problems

    def _rename(self, tracks: Rows, name: str, despite: bool) -> None:
        if not is_name(name) or len(name) > 60 or name[0] in '=+-@':
            raise WrongValue(
                f'the name is {name[:60]!r}',
                allowed='1 to 60 letters, digits, blanks, - and _, with a letter or digit first',
            )
        groups = {int(self.groups[row]) for row in tracks}
        rows = np.isin(self.groups, list(groups))
        if len(groups) > 1 and not despite:
            raise Contradiction(
                f'the tracks to be named {name} belong to {len(groups)} groups', todo='confirm the answer'
            )
        for other in self.members():
            if not rows[other[0]] and (own := self.name(other)) and look(own) == look(name):
                raise Conflict(f'a person is already named {own}', todo='choose another name, or merge the two')
        self.typed[rows] = name
        if not self.people[list(tracks)].any():
            self.people[rows] = self._next_person
            self._next_person += 1

    def _new_group(self) -> int:
        self._next_group += 1
        return self._next_group - 1
