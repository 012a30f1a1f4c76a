"""The figures of a reproduced table: our figures beside the published ones, with intervals and verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vireid.boundary.showing import markdown_line, one_line
from vireid.console.wording import aligned, counted
from vireid.statistics.seeds import repeat_interval
from vireid.studies.ablation import MORE, Table
from vireid.studies.tables import markdown_row

METRICS = ('R1', *MORE, 'mAP')
Verdict = Literal['inside', 'outside', 'not comparable']


@dataclass(frozen=True)
class Cell:
    """A published figure beside ours.

    Attributes:
        row: label of the row.
        metric: one of `METRICS`.
        published: in percent.
        family: the protocol by which ours was scored.
        values: ours, in percent, one value per run.
        repeats: number of runs whose mean was published.
        reason: why the two cannot be compared; empty if they can.
    """

    row: str
    metric: str
    published: float
    family: str
    values: tuple[float, ...]
    repeats: int
    reason: str = ''

    @property
    def mean(self) -> float:
        """The mean of ours."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of a repetition, in percent; None for a single run."""
        if len(self.values) < 2:
            return None
        low, high = repeat_interval([value / 100 for value in self.values], self.repeats)
        return 100 * low, 100 * high

    @property
    def verdict(self) -> Verdict:
        """Whether the published figure is within the interval that repetitions of our runs are expected to give."""
        if self.reason or self.interval is None:
            return 'not comparable'
        low, high = self.interval
        return 'inside' if low <= self.published <= high else 'outside'


def table_text(table: Table, cells: Sequence[Cell]) -> str:
    """Returns a table as text: a line per row and metric, with the verdicts of each family."""
    return '\n'.join([*_head(table, cells), '', *aligned(_lines(cells)), '', *_summary(cells)])


def table_markdown(table: Table, cells: Sequence[Cell]) -> str:
    """Returns the same as Markdown."""
    title, *about = _head(table, cells)
    lines = _lines(cells)
    rows = [markdown_row(line) for line in lines]
    rows.insert(1, '|---|---|' + '---:|' + '---:|---|' * ((len(lines[0]) - 3) // 2))
    parts = [f'# {markdown_line(title)}', *map(markdown_line, about), '\n'.join(rows)]
    return '\n\n'.join([*parts, *map(markdown_line, _summary(cells))]) + '\n'


def _head(table: Table, cells: Sequence[Cell]) -> list[str]:
    runs = max(len(cell.values) for cell in cells)
    lines = [
        f'{table.title}, percent',
        f'  paper: {table.paper}',
        f'  ours:  mean over {counted(runs, "run")}; in brackets, the 95% interval of a repetition',
    ]
    return list(map(one_line, lines))


def _lines(cells: Sequence[Cell]) -> list[list[str]]:
    """Returns the table as cells of text, with the header first: a line per row and metric."""
    families = list(dict.fromkeys(cell.family for cell in cells))
    lines = [['row', 'metric', 'paper', *(word for family in families for word in (family, 'verdict'))]]
    for first, *others in zip(*[iter(cells)] * len(families), strict=True):
        line = [one_line(first.row), first.metric, f'{first.published:.2f}']
        for cell in (first, *others):
            low_high = '' if cell.interval is None else ' ({:.1f} to {:.1f})'.format(*cell.interval)
            line += [f'{cell.mean:.2f}{low_high}', cell.verdict]
        lines.append(line)
    return lines


def _summary(cells: Sequence[Cell]) -> list[str]:
    """Counts the verdicts of each family, and says why figures are not comparable."""
    lines = []
    for family in dict.fromkeys(cell.family for cell in cells):
        verdicts = [cell.verdict for cell in cells if cell.family == family]
        judged = len(verdicts) - verdicts.count('not comparable')
        if judged:
            lines.append(
                f'{family}: {verdicts.count("inside")} of {counted(judged, "figure")} inside, '
                f'{verdicts.count("outside")} outside; of faithful repetitions, 1 in 20 is expected outside.'
            )
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if cell.verdict == 'not comparable':
            reason = cell.reason or 'one run has no spread; use at least 3 seeds'
            reasons.setdefault(reason, []).append(cell.row)
    for reason, rows in reasons.items():
        of = 'all rows' if len(set(rows)) == len({cell.row for cell in cells}) else ', '.join(dict.fromkeys(rows))
        lines.append(f'not comparable ({of}): {reason}')
    return list(map(one_line, lines))
