"""Ablation tables: a folder of configs with a `table.yaml`, trained with several seeds per row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vireid.boundary.config_text import dump, read_record
from vireid.boundary.paths import inside
from vireid.boundary.showing import one_line, printable
from vireid.boundary.writing import write_whole
from vireid.console.wording import aligned, counted
from vireid.core.config.files import SUFFIXES
from vireid.errors import MissingFile, UnknownKey, UnknownName, WrongValue, did_you_mean
from vireid.reporting.record import read_run
from vireid.runtime.processes import world
from vireid.studies import comparison_page
from vireid.studies.comparison import Comparison, compare_systems
from vireid.studies.jobs import Job, check_first
from vireid.studies.launching import finish_all
from vireid.studies.systems import System

COLUMNS = ('R1', 'mAP')
MORE = ('R10', 'R20')  # additional published metrics that a row may have
OPTIONAL = {'config', 'start', 'settings', *MORE}
START = {'config', 'key'}


@dataclass(frozen=True)
class Row(Job):
    """A run: one row of a table with one seed.

    Attributes:
        row: name of the row.
        seed: the seed.
        data: absolute path of the dataset folder; empty if the config has none.
    """

    row: str = ''
    seed: int = 0
    data: str = ''


@dataclass(frozen=True)
class Table:
    """A folder of configs that are the rows of one table.

    Attributes:
        folder: the folder of the configs.
        title: title of the table.
        paper: what the paper's metrics were measured on.
        settings: configs that can be applied to the rows, by name.
        rows: by name: `label`, the paper's `R1`, `mAP`, `R10`, and `R20` in percent or None, `config` (by default the
            file of that name), `settings` of its own by name, and `start`.
        starts: runs whose weights rows can start from if settings are applied, by name: `config`, and the `key` of a
            row's config that names the checkpoint. The first is that of rows without `start`; null means none.
        data: the dataset of the paper's metrics.
    """

    folder: Path
    title: str
    paper: str
    settings: dict[str, Path]
    rows: dict[str, dict[str, Any]]
    starts: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: str = 'SYSU-MM01'

    @classmethod
    def read(cls, folder: Path) -> Table:
        """Reads `table.yaml`.

        Raises:
            VireidError: if a key is missing, unknown or invalid, or a row has no config.
        """
        path = folder / 'table.yaml'
        content = read_record(path)
        needed: dict[str, type] = {'title': str, 'paper': str, 'settings': dict, 'rows': dict}
        for key, kind in needed.items():
            if not isinstance(content.get(key), kind):
                allowed = 'text' if kind is str else 'keys and values'
                raise WrongValue(f'{path}: {key} is {content.get(key)!r}', allowed=allowed)
        known = [*needed, 'starts', 'data']
        for key in content:
            if key not in known:
                raise UnknownKey(f'{path}: unknown key {key!r}{did_you_mean(key, known)}', allowed=', '.join(known))
        starts = content.get('starts', {})
        if not isinstance(starts, dict) or not all(isinstance(s, dict) and set(s) == START for s in starts.values()):
            raise WrongValue(f'{path}: starts is {starts!r}', allowed='config and key for each name')
        starts = {name: {'config': folder / str(own['config']), 'key': str(own['key'])} for name, own in starts.items()}
        rows = {}
        for row, metrics in content['rows'].items():
            named = [folder / str(metrics['config'])] if isinstance(metrics, dict) and 'config' in metrics else []
            files = named or [inside(folder, f'{row}{suffix}') for suffix in SUFFIXES]
            config = next((file for file in files if file.is_file()), None)
            if config is None:
                raise MissingFile(f'{path}: the config {files[0]} does not exist', todo='write it, or remove the row')
            if not isinstance(metrics, dict) or set(metrics) - OPTIONAL != {'label', *COLUMNS}:
                raise WrongValue(
                    f'{path}: rows.{row} is {metrics!r}',
                    allowed=f'label, R1, mAP; optional: {", ".join(sorted(OPTIONAL))}',
                )
            start, own = metrics.get('start', next(iter(starts), None)), metrics.get('settings', {})
            if start is not None and start not in starts:
                raise UnknownName(f'{path}: rows.{row}.start is {start!r}', allowed=', '.join(starts) or 'null')
            if not isinstance(own, dict):
                raise WrongValue(f'{path}: rows.{row}.settings is {own!r}', allowed='configs by name')
            if not all(isinstance(metrics.get(c), (int, float, type(None))) for c in (*COLUMNS, *MORE)):
                allowed = 'R1 and mAP in percent, or null if not published'
                raise WrongValue(f'{path}: rows.{row} is {metrics!r}', allowed=allowed)
            own = {name: folder / str(over) for name, over in own.items()}
            rows[row] = {
                **dict.fromkeys(MORE),
                **metrics,
                'label': str(metrics['label']),
                'config': config,
                'start': start,
                'settings': own,
            }
        if not rows:
            raise WrongValue(f'{path}: rows is empty', allowed='one row per config')
        settings = {name: folder / str(over) for name, over in content['settings'].items()}
        data = str(content.get('data', 'SYSU-MM01'))
        return cls(folder, content['title'], content['paper'], settings, rows, starts, data)

    def text(self, results: dict[tuple[str, int], dict[str, Any]], data: str) -> str:
        """Returns the table with the measured metrics beside the paper's."""
        first = next((r for r in results.values() if r.get('steps')), next(iter(results.values())))
        seeds = len({seed for _, seed in results})
        lines = [('row', *(f'{c} here' for c in COLUMNS), *(f'{c} paper' for c in COLUMNS))]
        for row in dict.fromkeys(row for row, _ in results):
            metrics = []
            for column in COLUMNS:
                values = [100 * r['rows'][0][column]['mean'] for (name, _), r in results.items() if name == row]
                spread = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
                metrics.append(f'{statistics.fmean(values):.2f}{spread}')
            entry = self.rows[row]
            trained = any(r.get('steps') for (name, _), r in results.items() if name == row)
            label = entry['label'] if trained or not first.get('steps') else f'{entry["label"]} (not trained)'
            if trained and self.starts and entry['start'] is None:
                label = f'{label} (no common start)'
            lines.append((label, *metrics, *('-' if entry[c] is None else f'{entry[c]:.2f}' for c in COLUMNS)))
        body = aligned([list(map(one_line, line)) for line in lines])
        spread = f'mean ± sample standard deviation over {seeds} seeds' if seeds > 1 else 'one seed'
        return '\n'.join(
            [
                f'{one_line(self.title)}, percent',
                one_line(
                    f'  here:  {data}, {first.get("identities", 0)} training identities; {first["protocol"]}, '
                    f'{first["rows"][0]["name"]}; {counted(first.get("steps", 0), "step")}; '
                    f'{first.get("select", "nothing is trained")}; {spread}'
                ),
                f'  paper: {one_line(self.paper)}',
                '  The two halves of a row are measured on different data and cannot be compared.',
                '',
                body[0],
                '-' * len(body[0]),
                *body[1:],
            ]
        )


def check_tables(jobs: Sequence[tuple[Table, Sequence[Row]]], data: bool = True) -> None:
    """Checks one run of each row before hours of training.

    Args:
        jobs: the runs of each table.
        data: also check that the data exist.

    Raises:
        VireidError: if a run cannot be built.
    """
    for _, runs in jobs:
        for row in dict.fromkeys(job.row for job in runs):
            check_first([job for job in runs if job.row == row], data)


def config_key(job: Row) -> str:
    """Returns a text that is the same for runs with the same config."""
    return dump({**job.experiment.to_config(), 'name': ''})


def unique_runs(jobs: Sequence[tuple[Table, Sequence[Row]]]) -> dict[str, Row]:
    """Returns the runs by `config_key`, each once: the full network of a paper is a row of several tables."""
    unique: dict[str, Row] = {}
    for _, runs in jobs:
        for job in runs:
            unique.setdefault(config_key(job), job)
    return unique


def run_tables(
    jobs: Sequence[tuple[Table, Sequence[Row]]],
    base: Path,
    launcher: Any = None,
    label: str = '',
    whole: bool = True,
    log: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> None:
    """Trains the missing runs of each table, and prints and writes the table.

    Args:
        jobs: the runs of each table.
        base: the parent folder of the tables.
        launcher: trains the runs; None trains them one after the other in this process.
        label: name of the data in the tables; by default its description and folder.
        whole: whether the tables have all rows; a partial table is not written.
        log: called with each line of output.
        warn: called with a line for each damaged checkpoint.

    Raises:
        VireidError: if runs failed, or a folder holds a run of another config.
        Interrupted: after Ctrl-C, once the checkpoints are written.
    """
    unique = unique_runs(jobs)
    for _, runs in jobs:
        for job in runs:
            first = unique[config_key(job)]
            if first is not job:
                log(f'{job.label}: the same config as {first.folder.parent.parent.name}/{first.row}')
    done = dict(zip(unique, finish_all(list(unique.values()), launcher, base, log=log, warn=warn), strict=True))
    for table, runs in jobs:
        results = {(job.row, job.seed): done[config_key(job)] for job in runs}
        text = table.text(results, label or f'{next(iter(results.values()))["data"]} ({runs[0].data})')
        compared = _compared(table, results)
        if compared is not None:
            text = '\n'.join([text, '', *compared.notes, *compared.claims()])
        log(f'\n{text}\n')
        target = runs[0].folder.parent.parent / 'table.txt'
        target.parent.mkdir(parents=True, exist_ok=True)  # does not exist if all runs belong to another table
        if not whole:
            log(f'the runs are in {target.parent}')
        else:
            if world()[0] == 0:
                write_whole(target, f'{printable(text)}\n')
                if compared is not None:
                    comparison_page.write(compared, target.parent)
            page = '' if compared is None else f' and {target.parent / "comparison.html"}'
            log(f'written to {target}{page}')


def _compared(table: Table, results: dict[tuple[str, int], dict[str, Any]]) -> Comparison | None:
    """Compares the rows; returns None for a single row."""
    rows: dict[str, System] = {}
    for (row, seed), result in results.items():
        system = rows.setdefault(row, System(table.rows[row]['label'], {}))
        system.runs[seed] = read_run(result['queries'].parent)
    return compare_systems(list(rows.values()), allow_differences=True) if len(rows) > 1 else None
