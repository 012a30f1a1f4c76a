"""Ablation tables: a folder of configs with a `table.yaml`, trained with several seeds per row."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vireid.boundary.config_text import dump, read_record
from vireid.boundary.paths import inside
from vireid.boundary.showing import one_line
from vireid.console.wording import aligned, counted
from vireid.core.config.files import SUFFIXES
from vireid.errors import MissingFile, UnknownKey, UnknownName, WrongValue, did_you_mean
from vireid.studies.jobs import Job, check_first

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
        rows: the rows by name. Each has a `label`; the paper's `R1`, `mAP`, `R10`, and `R20` in percent or None; a
            `config`, by default the file named after the row; `settings`, configs that replace those of the table for
            this row, by name; and a `start`.
        starts: by name, the runs whose weights rows can start from if settings are applied. Each has a `config` and a
            `key`, the key in a row's config that names the checkpoint. A row without `start` uses the first of them; a
            row with `start: null` uses none.
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
                allowed = 'text' if kind is str else 'a mapping'
                raise WrongValue(f'{path}: {key} is {content.get(key)!r}', allowed=allowed)
        known = [*needed, 'starts', 'data']
        for key in content:
            if key not in known:
                raise UnknownKey(f'{path}: unknown key {key!r}{did_you_mean(key, known)}', allowed=', '.join(known))
        starts = content.get('starts', {})
        if not isinstance(starts, dict) or not all(isinstance(s, dict) and set(s) == START for s in starts.values()):
            raise WrongValue(f'{path}: starts is {starts!r}', allowed='a config and a key for each name')
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
                raise WrongValue(f'{path}: rows.{row}.settings is {own!r}', allowed='a mapping of names to configs')
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
    """Checks one run of each row, so that errors appear before hours of training.

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
    """Returns a text that is equal for runs with equal configs, whatever their names."""
    return dump({**job.experiment.to_config(), 'name': ''})


def unique_runs(jobs: Sequence[tuple[Table, Sequence[Row]]]) -> dict[str, Row]:
    """Returns each distinct run, by `config_key`: the full network of a paper is a row of several tables."""
    unique: dict[str, Row] = {}
    for _, runs in jobs:
        for job in runs:
            unique.setdefault(config_key(job), job)
    return unique
