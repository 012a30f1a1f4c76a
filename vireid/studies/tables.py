"""Result tables as in papers: systems and their metrics, the best in bold, with published results beside them."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vireid.boundary.showing import csv_cell, latex, markdown, markdown_line, one_line
from vireid.console.wording import aligned
from vireid.errors import TooFew, UnknownName, WrongValue
from vireid.statistics.scores import METRICS
from vireid.studies.systems import System, find_differences

METRICS_SHOWN = ('R1', 'R10', 'R20', 'mAP')
FORMATS = {'text': '.txt', 'md': '.md', 'latex': '.tex', 'csv': '.csv'}  # suffix by name


def format_of(out: Path | None) -> str:
    """Returns the format that the suffix of a file names; text without one.

    Raises:
        WrongValue: for another suffix.
    """
    if out is None or not out.suffix:
        return 'text'
    for name, suffix in FORMATS.items():
        if suffix == out.suffix:
            return name
    raise WrongValue(
        f'{out}: no format has the suffix {out.suffix}', allowed=', '.join(FORMATS.values()),
        todo='choose one with --format',
    )  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A metric in percent: mean, sample standard deviation over seeds (None for one), and whether it is the best."""

    mean: float | None
    spread: float | None = None
    best: bool = False

    def text(self) -> str:
        """Returns the mean and spread with two decimals, as in papers."""
        if self.mean is None:
            return '-'
        return f'{self.mean:.2f}' + ('' if self.spread is None else f' ± {self.spread:.2f}')


@dataclass
class PaperTable:
    """A result table.

    Attributes:
        caption: data, protocol and number of seeds.
        columns: headers of the columns after the first.
        rows: name and cells of each system.
        source: what the published results were measured on; empty if there are none.
        notes: warnings.
    """

    caption: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    source: str = ''
    notes: list[str] = field(default_factory=list)

    def format(self, kind: str) -> str:
        """Returns the table as `text`, `md`, `latex` or `csv`.

        Raises:
            WrongValue: for another format.
        """
        if kind not in FORMATS:
            raise WrongValue(f'unknown format {kind!r}', allowed=', '.join(FORMATS))
        return {'text': self.text, 'md': self.markdown, 'latex': self.latex, 'csv': self.csv}[kind]()

    def text(self) -> str:
        """Returns aligned text; a star marks the best, and the row of a metric is above the first of its columns."""
        heads = [column.rpartition(' ')[::2] for column in self.columns]
        rows = ['' if n and heads[n - 1][0] == row else row for n, (row, _) in enumerate(heads)]
        cells = [['', *rows]] * any(rows) + [['', *(metric for _, metric in heads)]]
        cells += [[name, *(c.text() + ('*' if c.best else '') for c in row)] for name, row in self.rows]
        shown = aligned([list(map(one_line, row)) for row in cells])
        star = ['* best'] if any(cell.best for _, row in self.rows for cell in row) else []
        return '\n'.join([*map(one_line, self._head()), '', *shown, *star]) + '\n'

    def markdown(self) -> str:
        """Returns a Markdown table; the best is bold."""
        lines = [markdown_row(['', *self.columns]), '|---|' + '---:|' * len(self.columns)]
        for name, row in self.rows:
            texts = [f'**{c.text()}**' if c.best else c.text() for c in row]
            lines.append(f'| {markdown(name)} | ' + ' | '.join(texts) + ' |')
        return '\n\n'.join(['  \n'.join(map(markdown_line, self._head())), '\n'.join(lines)]) + '\n'

    def latex(self) -> str:
        """Returns a LaTeX table for the package booktabs; the best is bold."""
        lines = [
            r'\begin{table}',
            r'\centering',
            rf'\caption{{{" ".join(map(latex, self._head()))}}}',
            rf'\begin{{tabular}}{{l{"r" * len(self.columns)}}}',
            r'\toprule',
            ' & '.join(['', *map(latex, self.columns)]) + r' \\',
            r'\midrule',
        ]
        for name, row in self.rows:
            texts = []
            for cell in row:
                text = cell.text().replace(' ± ', r' $\pm$ ')
                texts.append(rf'\textbf{{{text}}}' if cell.best else text)
            lines.append(' & '.join([latex(name), *texts]) + r' \\')
        return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}', r'\end{table}']) + '\n'

    def csv(self) -> str:
        """Returns comma-separated values, with spreads in separate columns, and the notes, if any, in the last one."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator='\n')
        spread = [any(row[n].spread is not None for _, row in self.rows) for n in range(len(self.columns))]
        head = [
            h for name, own in zip(self.columns, spread, strict=True) for h in ([name, f'{name} sd'] if own else [name])
        ]
        notes = [csv_cell(' '.join(self.notes))] if self.notes else []
        writer.writerow(['system', *map(csv_cell, head), *(['notes'] if notes else [])])
        for name, row in self.rows:
            values: list[Any] = []
            for cell, own in zip(row, spread, strict=True):
                values += [_plain(cell.mean), _plain(cell.spread)] if own else [_plain(cell.mean)]
            writer.writerow([csv_cell(name), *values, *notes])
        return file.getvalue()

    def _head(self) -> list[str]:
        source = [f'Published results: {self.source}.'] if self.source else []
        return [self.caption, *source, *self.notes]


def markdown_row(cells: Sequence[str]) -> str:
    """Returns a row of a Markdown table."""
    return f'| {" | ".join(map(markdown, cells))} |'


def make_table(
    systems: Sequence[System],
    metrics: Sequence[str] = METRICS_SHOWN,
    literature: Mapping[str, Mapping[str, Any]] | None = None,
    source: str = '',
) -> PaperTable:
    """Creates a result table.

    Args:
        systems: see `read_systems`; several seeds give a mean and a sample standard deviation.
        metrics: metrics to show for each plain row of the result, such as all search and indoor search.
        literature: published results by the name of a system or its config: `label`, and `R1` and `mAP` in percent or
            None.
        source: what the published results were measured on.

    Returns:
        The table.

    Raises:
        VireidError: if there are no systems, or a metric is unknown.
    """
    if not systems:
        raise TooFew('no runs were given', todo='give the folders of finished runs')
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if not isinstance(metrics, Sequence) or not metrics:
        raise WrongValue(f'metrics is {metrics!r}', allowed=f'a list of {", ".join(METRICS)}')
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise UnknownName(f'unknown metric {unknown[0]!r}', allowed=', '.join(METRICS))
    names = list(dict.fromkeys(row['name'] for s in systems for row in s.first.rows if not row['variant']))
    columns = [f'{name} {metric}' if len(names) > 1 else metric for name in names for metric in metrics]
    rows = []
    for system in systems:
        entry = (literature or {}).get(_config_name(system))
        cells = [_measured(system, name, metric) for name in names for metric in metrics]
        if literature is not None:
            cells += [Cell(None if entry is None else entry[key]) for key in ('R1', 'mAP')]
        rows.append((str(entry['label']) if entry else system.name, cells))
    if literature is not None:
        columns += ['R1 (publ.)', 'mAP (publ.)']
    for place in range(len(names) * len(metrics)):  # not the published results
        means = [cell.mean for _, cells in rows if (cell := cells[place]).mean is not None]
        for _, cells in rows if len(set(means)) > 1 else ():
            if cells[place].mean == max(means):
                cells[place] = replace(cells[place], best=True)
    notes = list(dict.fromkeys(note for s in systems for run in s.runs.values() for note in run.warnings()))
    protocols = sorted({run.protocol for s in systems for run in s.runs.values()})
    if literature and not any(_config_name(system) in literature for system in systems):
        notes.append(f'No published results: the rows of {source} are {", ".join(literature)}.')
    if differences := find_differences(systems):
        notes.append(f'These rows are not comparable: {"; ".join(differences)}.')
    return PaperTable(_caption(systems, protocols), columns, rows, source if literature is not None else '', notes)


def _caption(systems: Sequence[System], protocols: Sequence[str]) -> str:
    data = sorted({str((run.result or {}).get('data', '')) for s in systems for run in s.runs.values()})
    seeds = sorted({len(s.runs) for s in systems})
    spread = ''
    if seeds[-1] > 1:
        spread = (
            f', mean ± sample standard deviation over {"-".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds'
        )
    return f'{", ".join(filter(None, data))}; {", ".join(protocols)}; percent{spread}.'


def _measured(system: System, name: str, metric: str) -> Cell:
    values = []
    for run in system.runs.values():
        row = next((row for row in run.rows if row['name'] == name and not row['variant']), None)
        if row is None:
            return Cell(None)
        values.append(100 * row[metric]['mean'])
    return Cell(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _config_name(system: System) -> str:
    return str(system.first.config.get('name', system.name))


def _plain(value: float | None) -> str:
    return '' if value is None else f'{value:.4f}'
