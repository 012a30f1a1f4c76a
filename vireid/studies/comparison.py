"""A comparison of systems that were run with several seeds: whether one beats another, and where.

A difference of means is a claim only if it is larger than what seeds alone do. Two runs of one seed each are compared
on other people by a bootstrap, and no claim is made: nobody knows what another seed would have changed.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vireid.boundary.showing import markdown, markdown_line
from vireid.core.errors import VireidError
from vireid.core.scoring.results import metric_values
from vireid.core.wording import aligned, counted
from vireid.reporting.config_differences import differences
from vireid.reporting.record import RunRecord
from vireid.statistics.comparison import MOST_SEEDS, Difference, bootstrap, over_seeds, seeds_for
from vireid.studies.systems import System, read_queries, without_own
from vireid.studies.tables import markdown_row

COLUMNS = ('R1', 'mAP')
POINTS = 0.05  # a difference that a comparison should be able to see
FEW = 6  # pairs that are each told on a terminal: of three systems, by two metrics


@dataclass(frozen=True)
class Pair:
    """Two systems compared by one metric.

    Attributes:
        first, second: their names.
        column: the metric.
        by_seeds: over the seeds that both have; None for a single one.
        by_people: over test identities, all common seeds together.
        seeds_needed: seeds that would show a true difference of 5 points; 0 for a single one.
        wins: by identity, how much larger the metric of the first is.
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
        """Whether a difference may be claimed."""
        return self.by_seeds is not None and self.by_seeds.is_significant

    def verdict(self) -> str:
        """Says what may be claimed."""
        found = self.by_people if self.by_seeds is None else self.by_seeds
        text = f'{self.first} - {self.second}, {self.column}: {100 * found.mean:+.1f} points'
        people = (
            f'over {counted(self.by_people.count, "test identity", "test identities")} '
            f'{100 * self.by_people.low:+.1f} to {100 * self.by_people.high:+.1f}'
        )
        if self.by_seeds is None:
            why = 'One seed: no claim, since another seed can change the result as much; use at least 3.'
            return f'{text} ({people}). {why}'
        spread = f'over {self.by_seeds.count} seeds {100 * found.low:+.1f} to {100 * found.high:+.1f}, {people}'
        more = f'{_seeds(self.seeds_needed)} seeds would detect a difference of {100 * POINTS:.0f} points'
        if not self.is_significant:
            return f'{text} ({spread}). Not significant: {more}.'
        better, worse = (self.first, self.second) if found.mean > 0 else (self.second, self.first)
        if self.by_people.is_significant and (self.by_people.mean > 0) == (found.mean > 0):
            return f'{text} ({spread}). {better} is better than {worse}.'
        return f'{text} ({spread}). {better} is better than {worse} on these identities; on others it may not be.'


@dataclass
class Comparison:
    """Systems compared.

    Attributes:
        systems: in the order given.
        pairs: every pair of them, by each of R1 and mAP.
        confidence: of each interval, so that all together are right in 95 of 100 comparisons.
        notes: what differs between the runs although it should not.
    """

    systems: list[System]
    pairs: list[Pair]
    confidence: float
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Returns for each system its `name`, `seeds`, and of R1 and mAP `mean` and sample `std` over them."""
        found = []
        for system in self.systems:
            row: dict[str, Any] = {'name': system.name, 'seeds': sorted(system.runs)}
            for column in COLUMNS:
                values = system.values(column, sorted(system.runs))
                spread = statistics.stdev(values) if len(values) > 1 else None
                row[column] = {'mean': statistics.fmean(values), 'std': spread}
            found.append(row)
        return found

    def head(self) -> str:
        """Says what was compared on what."""
        run = self.systems[0].first
        result = run.result or {}
        steps = {run.result.get('steps') for system in self.systems for run in system.runs.values() if run.result}
        budget = f'; {counted(result["steps"], "step")}' if 'steps' in result and len(steps) == 1 else ''
        data = ', '.join(filter(None, [str(result.get('data', '')), run.protocol, run.rows[0]['name']]))
        return f'{data}{budget}; percent, mean ± sample deviation over seeds'

    def title(self) -> str:
        """Names the systems, if they are two."""
        names = [system.name for system in self.systems]
        return ' against '.join(names) if len(names) == 2 else f'{len(names)} systems compared'

    def lines(self) -> list[list[str]]:
        """Returns the table as cells, its head first."""
        cells = [['system', 'seeds', *COLUMNS]]
        for row in self.rows():
            metrics = []
            for column in COLUMNS:
                spread = '' if row[column]['std'] is None else f' ± {100 * row[column]["std"]:.1f}'
                metrics.append(f'{100 * row[column]["mean"]:.1f}{spread}')
            cells.append([row['name'], str(len(row['seeds'])), *metrics])
        return cells

    def text(self) -> str:
        """Returns the table and what may be claimed, as text."""
        return '\n'.join([self.head(), *self.notes, '', *aligned(self.lines()), '', *self.claims()])

    def claims(self) -> list[str]:
        """Describes the intervals and what each pair shows; of many pairs, only significant ones are listed."""
        told = self.pairs if len(self.pairs) <= FEW else [pair for pair in self.pairs if pair.is_significant]
        return [self.about(), *(pair.verdict() for pair in told), *self._counted(len(told))]

    def verdicts(self) -> list[str]:
        """Returns what every pair shows, claims first."""
        return [pair.verdict() for pair in sorted(self.pairs, key=lambda pair: not pair.is_significant)]

    def _counted(self, told: int) -> list[str]:
        """Counts the pairs that are not listed: those that are not significant, and those of a single seed."""
        if told == len(self.pairs):
            return []
        lines = []
        noise = [pair.seeds_needed for pair in self.pairs if pair.by_seeds is not None and not pair.is_significant]
        if noise:
            seeds = ' to '.join(dict.fromkeys(map(_seeds, (min(noise), max(noise)))))
            show = f'{seeds} seeds would detect a difference of {100 * POINTS:.0f} points'
            lines.append(f'{len(noise)} of {len(self.pairs)} differences are not significant: {show}.')
        if single := sum(pair.by_seeds is None for pair in self.pairs):
            lines.append(
                f'{single} differences of one seed: no claim, since another seed can change the result as much.'
            )
        return lines

    def markdown(self) -> str:
        """Returns the same as Markdown, with what differs between the configs."""
        cells = self.lines()
        table = [markdown_row(line) for line in cells]
        table.insert(1, '|---|' + '---:|' * (len(cells[0]) - 1))
        names = [system.name for system in self.systems]
        parts = [f'# {markdown(self.title())}', '', f'{markdown_line(self.head())}.', '']
        parts += [f'**{markdown(note)}**\n' for note in self.notes]
        parts += [*table, '', self.about(), '', *(f'- {markdown_line(verdict)}' for verdict in self.verdicts()), '']
        parts += ['What differs between the configs:', '', markdown_row(['path', *names])]
        parts.append('|---|' + '---|' * len(self.systems))
        parts += [markdown_row([path, *values]) for path, values in self.configs()]
        return '\n'.join(parts) + '\n'

    def about(self) -> str:
        """Says what the intervals are."""
        kind = f'Each interval has {100 * self.confidence:.4g}% confidence'
        if len(self.pairs) > len(COLUMNS):
            kind += ', so that all pairs of a metric together have 95%'
        return f"{kind}: over seeds by Student's t of the paired differences, over identities by a bootstrap."

    def configs(self) -> list[tuple[str, list[str]]]:
        """Returns the paths at which the systems' configs differ, and the values as text."""
        found = differences([without_own(s.first.config) for s in self.systems])
        return [('.'.join(path), [_text(value) for value in values]) for path, values in found.items()]

    def frame(self) -> Any:
        """Returns `rows` as a pandas frame.

        Raises:
            ImportError: without pandas.
        """
        import pandas

        flat = [
            {
                'system': row['name'],
                'seeds': len(row['seeds']),
                **{f'{c} {part}': row[c][part] for c in COLUMNS for part in ('mean', 'std')},
            }
            for row in self.rows()
        ]
        return pandas.DataFrame(flat).set_index('system')


def compare_systems(systems: Sequence[System], allow_differences: bool = False) -> Comparison:
    """Compares every pair of systems, over the seeds that both have.

    Args:
        systems: two or more.
        allow_differences: compare runs of different protocols, data or budgets too, and say so.

    Raises:
        VireidError: for a single system, or if runs cannot be compared.
    """
    if len(systems) < 2:
        raise VireidError(
            f'{counted(len(systems), "system")} to compare', allowed='two or more; seeds of one config are one system'
        )
    notes = _unlike(systems)
    if notes and not allow_differences:
        raise VireidError(
            f'these runs cannot be compared: {"; ".join(notes)}',
            todo='run them alike; or compare them all the same, with that said above the table: --allow-differences',
        )
    couples = list(itertools.combinations(systems, 2))
    confidence = 1 - 0.05 / len(couples)  # Bonferroni
    pairs = [_pair(a, b, column, confidence, systems) for a, b in couples for column in COLUMNS]
    said = [f'NOT ALIKE: {note}' for note in notes]
    said += dict.fromkeys(note for system in systems for run in system.runs.values() for note in run.warnings())
    if len({tuple(sorted(system.runs)) for system in systems}) > 1:
        seeds = '; '.join(f'{system.name} {", ".join(map(str, sorted(system.runs)))}' for system in systems)
        said.append(f'Other seeds ({seeds}): the table has all of them, differences are of those that both have.')
    return Comparison(list(systems), pairs, confidence, said)


def _pair(first: System, second: System, column: str, confidence: float, systems: Sequence[System]) -> Pair:
    seeds = sorted(set(first.runs) & set(second.runs))
    if not seeds:
        raise VireidError(
            f'{first.name} has the seeds {sorted(first.runs)} and {second.name} {sorted(second.runs)}',
            todo='run both with the same seeds',
        )
    a, b = first.values(column, seeds), second.values(column, seeds)
    beside = [system for system in systems if system is not first and system is not second]
    others = [system.values(column, seeds) for system in beside if set(seeds) <= set(system.runs)]
    several = len(seeds) > 1
    people, parts, mine, theirs = _queries(first, second, column, seeds)
    order = np.unique(people, return_inverse=True)
    mean = np.bincount(order[1], mine - theirs) / np.bincount(order[1])
    return Pair(
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
    """Returns person, part (seed and trial), and the metric in both systems, of all queries of the first row."""
    people, parts, metrics = [], [], []
    for place, seed in enumerate(seeds):
        sides = [read_queries(system.runs[seed]) for system in (first, second)]
        if any(not np.array_equal(sides[0][key], sides[1][key]) for key in ('identity', 'trial')):
            raise VireidError(
                f'{first.name} and {second.name} were tested on different queries (seed {seed})',
                todo='give them one dataset, split and protocol',
            )
        people.append(sides[0]['identity'])
        parts.append(sides[0]['trial'] + 1_000_000 * place)
        metrics.append([metric_values(side)[column] for side in sides])
    mine, theirs = (np.concatenate(values) for values in zip(*metrics, strict=True))
    return np.concatenate(people), np.concatenate(parts), mine, theirs


def _unlike(systems: Sequence[System]) -> list[str]:
    """Names what differs between runs that should be alike."""
    runs = [_terms(run) for system in systems for run in system.runs.values()]
    found = []
    for name in runs[0]:
        values = [value for value in dict.fromkeys(run[name] for run in runs) if value]
        if len(values) > 1:
            found.append(f'{name} {" and ".join(values)}')
    return found


def _terms(run: RunRecord) -> dict[str, str]:
    """Returns what runs have to have in common; empty where a run that was scored later does not know."""
    result = run.result or {}
    return {
        'protocol': f'{run.protocol}, {run.rows[0]["name"]}',
        'data': str(result.get('data', '')),
        'split': str(result.get('split', '') or 'the only split'),
        'training identities': str(result.get('identities', '')),
        'steps': str(result.get('steps', '')),
        'choice of weights': str(result.get('select', '')),
    }


def _seeds(number: int) -> str:
    return f'more than {MOST_SEEDS}' if number >= MOST_SEEDS else str(number)


def _text(value: Any) -> str:
    from vireid.core.config.files import dump_value
    from vireid.reporting.config_differences import MISSING

    return '-' if value is MISSING else dump_value(value)
