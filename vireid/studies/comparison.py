"""Comparison of systems trained with several seeds: whether one is better than another, and on which identities.

A difference is claimed only if it is significant over seeds. For a single seed, a bootstrap over identities gives an
interval, but no claim is made, because the variance over seeds is unknown.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vireid.boundary.showing import markdown, markdown_line
from vireid.console.wording import aligned, counted
from vireid.errors import Mismatch, TooFew
from vireid.reporting.config_differences import differences
from vireid.statistics.comparison import MAX_SEEDS, Difference, bootstrap, over_seeds, seeds_for
from vireid.statistics.scores import metric_values
from vireid.studies.systems import System, find_differences, read_queries, without_own
from vireid.studies.tables import markdown_row

COLUMNS = ('R1', 'mAP')
POINTS = 0.05  # a difference that a comparison should be able to detect
FEW = 6  # up to this many pairs, those of three systems and two metrics, are all printed on a terminal


@dataclass(frozen=True)
class SystemPair:
    """Two systems compared by one metric.

    Attributes:
        first, second: names of the systems.
        column: the metric.
        by_seeds: the difference over their common seeds; None for a single seed.
        by_people: the difference over test identities, pooled over the common seeds.
        seeds_needed: seeds needed to detect a true difference of 5 points; 0 for a single seed.
        wins: by identity, the metric of the first minus that of the second.
    """

    first: str
    second: str
    column: str
    by_seeds: Difference | None
    by_people: Difference
    seeds_needed: int
    wins: dict[int, float]

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant over seeds."""
        return self.by_seeds is not None and self.by_seeds.is_significant

    def verdict(self) -> str:
        """Returns a sentence on the difference and its significance."""
        difference = self.by_people if self.by_seeds is None else self.by_seeds
        text = f'{self.first} - {self.second}, {self.column}: {100 * difference.mean:+.1f} points'
        people = (
            f'over {counted(self.by_people.count, "test identity", "test identities")} '
            f'{100 * self.by_people.low:+.1f} to {100 * self.by_people.high:+.1f}'
        )
        if self.by_seeds is None:
            why = 'One seed: no claim, since another seed can change the result as much; use at least 3.'
            return f'{text} ({people}). {why}'
        low, high = 100 * difference.low, 100 * difference.high
        spread = f'over {self.by_seeds.count} seeds {low:+.1f} to {high:+.1f}, {people}'
        more = f'{_seeds(self.seeds_needed)} seeds would detect a difference of {100 * POINTS:.0f} points'
        if not self.is_significant:
            return f'{text} ({spread}). Not significant: {more}.'
        better, worse = (self.first, self.second) if difference.mean > 0 else (self.second, self.first)
        if self.by_people.is_significant and (self.by_people.mean > 0) == (difference.mean > 0):
            return f'{text} ({spread}). {better} is better than {worse}.'
        return f'{text} ({spread}). {better} is better than {worse} on these identities; on others it may not be.'


@dataclass
class Comparison:
    """A comparison of systems.

    Attributes:
        systems: the systems in the given order.
        pairs: all pairs, by R1 and mAP.
        confidence: confidence of each interval, chosen so that all together have 95%.
        notes: unintended differences between the runs, and other warnings.
    """

    systems: list[System]
    pairs: list[SystemPair]
    confidence: float
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Returns per system its `name`, `seeds`, and the `mean` and sample `std` over seeds of R1 and mAP."""
        rows = []
        for system in self.systems:
            row: dict[str, Any] = {'name': system.name, 'seeds': sorted(system.runs)}
            for column in COLUMNS:
                values = system.values(column, sorted(system.runs))
                spread = statistics.stdev(values) if len(values) > 1 else None
                row[column] = {'mean': statistics.fmean(values), 'std': spread}
            rows.append(row)
        return rows

    def head(self) -> str:
        """Returns the caption: data, protocol and budget."""
        run = self.systems[0].first
        result = run.result or {}
        steps = {run.result.get('steps') for system in self.systems for run in system.runs.values() if run.result}
        budget = f'; {counted(result["steps"], "step")}' if 'steps' in result and len(steps) == 1 else ''
        data = ', '.join(filter(None, [str(result.get('data', '')), run.protocol, run.rows[0]['name']]))
        return f'{data}{budget}; percent, mean ± sample standard deviation over seeds'

    def title(self) -> str:
        """Returns the title, which names the systems if there are two."""
        names = [system.name for system in self.systems]
        return ' vs. '.join(names) if len(names) == 2 else f'{len(names)} systems compared'

    def lines(self) -> list[list[str]]:
        """Returns the table as cells, with the header first."""
        cells = [['system', 'seeds', *COLUMNS]]
        for row in self.rows():
            metrics = []
            for column in COLUMNS:
                spread = '' if row[column]['std'] is None else f' ± {100 * row[column]["std"]:.1f}'
                metrics.append(f'{100 * row[column]["mean"]:.1f}{spread}')
            cells.append([row['name'], str(len(row['seeds'])), *metrics])
        return cells

    def text(self) -> str:
        """Returns the table and the claims as text."""
        return '\n'.join([self.head(), *self.notes, '', *aligned(self.lines()), '', *self.claims()])

    def claims(self) -> list[str]:
        """Describes the intervals and what each pair shows; of many pairs, only significant ones are listed."""
        listed = self.pairs if len(self.pairs) <= FEW else [pair for pair in self.pairs if pair.is_significant]
        return [self.about(), *(pair.verdict() for pair in listed), *self._counted(len(listed))]

    def verdicts(self) -> list[str]:
        """Returns the verdict on every pair, significant differences first."""
        return [pair.verdict() for pair in sorted(self.pairs, key=lambda pair: not pair.is_significant)]

    def _counted(self, listed: int) -> list[str]:
        """Counts the pairs that are not listed: those that are not significant, and those of a single seed."""
        if listed == len(self.pairs):
            return []
        lines = []
        noise = [pair.seeds_needed for pair in self.pairs if pair.by_seeds is not None and not pair.is_significant]
        if noise:
            seeds = ' to '.join(dict.fromkeys(map(_seeds, (min(noise), max(noise)))))
            show = f'{seeds} seeds would detect a difference of {100 * POINTS:.0f} points'
            lines.append(f'{len(noise)} of {len(self.pairs)} differences are not significant: {show}.')
        if single := sum(pair.by_seeds is None for pair in self.pairs):
            lines.append(
                f'{single} differences from a single seed: no claim, since another seed can change the result as much.'
            )
        return lines

    def markdown(self) -> str:
        """Returns the comparison as Markdown, including the differences between the configs."""
        cells = self.lines()
        table = [markdown_row(line) for line in cells]
        table.insert(1, '|---|' + '---:|' * (len(cells[0]) - 1))
        names = [system.name for system in self.systems]
        parts = [f'# {markdown(self.title())}', '', f'{markdown_line(self.head())}.', '']
        parts += [f'**{markdown(note)}**\n' for note in self.notes]
        parts += [*table, '', self.about(), '', *(f'- {markdown_line(verdict)}' for verdict in self.verdicts()), '']
        parts += ['Differences between the configs:', '', markdown_row(['path', *names])]
        parts.append('|---|' + '---|' * len(self.systems))
        parts += [markdown_row([path, *values]) for path, values in self.configs()]
        return '\n'.join(parts) + '\n'

    def about(self) -> str:
        """Describes the intervals."""
        kind = f'Each interval has {100 * self.confidence:.4g}% confidence'
        if len(self.pairs) > len(COLUMNS):
            kind += ', so that all pairs of a metric together have 95%'
        return f"{kind}: over seeds by Student's t of the paired differences, over identities by a bootstrap."

    def configs(self) -> list[tuple[str, list[str]]]:
        """Returns the keys in which the configs of the systems differ, with the values as text."""
        changes = differences([without_own(s.first.config, s.first.folder) for s in self.systems])
        return [('.'.join(path), [_text(value) for value in values]) for path, values in changes.items()]


def compare_systems(systems: Sequence[System], allow_differences: bool = False) -> Comparison:
    """Compares every pair of systems over their common seeds.

    Args:
        systems: two or more systems.
        allow_differences: also compare runs with different protocols, data or budgets, and note it.

    Returns:
        The comparison.

    Raises:
        VireidError: for a single system, or if the runs cannot be compared.
    """
    if len(systems) < 2:
        raise TooFew(
            f'{counted(len(systems), "system")} to compare',
            allowed='two or more; runs of one config with different seeds are one system',
        )
    notes = find_differences(systems)
    if notes and not allow_differences:
        raise Mismatch(
            f'these runs cannot be compared: {"; ".join(notes)}',
            todo='train them with the same settings, or use --allow-differences (in Python: allow_differences=True) to '
            'note this above the table',
        )
    couples = list(itertools.combinations(systems, 2))
    confidence = 1 - 0.05 / len(couples)  # Bonferroni
    pairs = [_pair(a, b, column, confidence, systems) for a, b in couples for column in COLUMNS]
    warnings = [f'DIFFERENT: {note}' for note in notes]
    warnings += dict.fromkeys(note for system in systems for run in system.runs.values() for note in run.warnings())
    if len({tuple(sorted(system.runs)) for system in systems}) > 1:
        seeds = '; '.join(f'{system.name} {", ".join(map(str, sorted(system.runs)))}' for system in systems)
        warnings.append(f'Different seeds ({seeds}): the table includes all of them, the differences only common ones.')
    return Comparison(list(systems), pairs, confidence, warnings)


def _pair(first: System, second: System, column: str, confidence: float, systems: Sequence[System]) -> SystemPair:
    seeds = sorted(set(first.runs) & set(second.runs))
    if not seeds:
        raise Mismatch(
            f'{first.name} has the seeds {sorted(first.runs)}, but {second.name} has {sorted(second.runs)}',
            todo='train both with the same seeds',
        )
    a, b = first.values(column, seeds), second.values(column, seeds)
    beside = [system for system in systems if system is not first and system is not second]
    others = [system.values(column, seeds) for system in beside if set(seeds) <= set(system.runs)]
    several = len(seeds) > 1
    people, parts, mine, theirs = _queries(first, second, column, seeds)
    order = np.unique(people, return_inverse=True)
    mean = np.bincount(order[1], mine - theirs) / np.bincount(order[1])
    return SystemPair(
        first.name,
        second.name,
        column,
        over_seeds(a, b, confidence, others) if several else None,
        bootstrap(mine, theirs, people, parts, confidence),
        seeds_for(a, b, POINTS, confidence, others=others) if several else 0,
        {int(identity): float(gain) for identity, gain in zip(order[0], mean, strict=True)},
    )


def _queries(
    first: System, second: System, column: str, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns identity, part (seed and trial), and the metric of both systems for all queries of the first row."""
    people, parts, metrics = [], [], []
    for place, seed in enumerate(seeds):
        sides = [read_queries(system.runs[seed]) for system in (first, second)]
        if any(not np.array_equal(sides[0][key], sides[1][key]) for key in ('identity', 'trial')):
            raise Mismatch(
                f'{first.name} and {second.name} were tested on different queries (seed {seed})',
                todo='use the same dataset, split and protocol',
            )
        people.append(sides[0]['identity'])
        parts.append(sides[0]['trial'] + 1_000_000 * place)
        metrics.append([metric_values(side)[column] for side in sides])
    mine, theirs = (np.concatenate(values) for values in zip(*metrics, strict=True))
    return np.concatenate(people), np.concatenate(parts), mine, theirs


def _seeds(number: int) -> str:
    return f'more than {MAX_SEEDS}' if number >= MAX_SEEDS else str(number)


def _text(value: Any) -> str:
    from vireid.boundary.config_text import dump_value
    from vireid.reporting.config_differences import MISSING

    return '-' if value is MISSING else dump_value(value)
