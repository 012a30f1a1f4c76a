"""Run a table of ablations, several seeds a row, and print it beside the paper's figures.

A table is a folder of configs with a `table.yaml`: `title`, `paper` (what its figures were measured on), `settings`
(configs that may be laid over the rows, by name) and `rows` (config: label, R1, mAP in percent). Each row is a normal
run; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import os
import statistics
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.cli.experiment import add_arguments as add_experiment_arguments
from vireid.cli.experiment import make_experiment, make_manager, read_config
from vireid.cli.jobs import Job, finish, try_to_build, without_console
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.wording import counted

DEMO_DATA = Path('data/demo')
COLUMNS = ('R1', 'mAP')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid ablate`."""
    parser.add_argument('table', help='tffn, dmcf (every table of that paper), or a folder with a table.yaml')
    parser.add_argument(
        '--on', metavar='NAME', help='settings of the table to lay over its rows; synth: small, on generated people'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='N', help='default: 0 1 2')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows')
    parser.add_argument(
        '--configs', type=Path, metavar='DIR', help='where tables are looked for (default: those of installed plugins)'
    )
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='default: runs/ablate')
    parser.add_argument('--data-label', metavar='TEXT', help='what the table calls the pictures')
    add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains what is missing and prints each table; 130 if Ctrl-C stopped it."""
    from vireid.core.config.files import dump
    from vireid.core.distributed.processes import wait_for_all, world
    from vireid.core.signals import Interrupted

    if args.seed is not None:
        raise VireidError('--seed names one seed and a table takes several', todo=f'write --seeds {args.seed}')
    tables = [Table.read(folder) for folder in _folders(args)]
    known = [row for table in tables for row in table.rows]
    for row in args.rows or ():
        if row not in known:
            raise VireidError(f'no row {row!r}{did_you_mean(row, known)}', allowed=', '.join(known))
    jobs = [(table, found) for table in tables if (found := _jobs(table, args))]
    for _, found in jobs:  # all of them, so that what cannot be built is known before hours of training
        by_row: dict[str, list[Row]] = {}
        for job in found:
            by_row.setdefault(job.row, []).append(job)
        for row in by_row.values():  # its seeds are alike, but those that have begun need no pretrained weights
            try_to_build(next((job for job in row if not job.begun()), row[0]))
    if args.on == 'synth' and any(Path(job.data) == DEMO_DATA.resolve() for _, found in jobs for job in found):
        if world()[0] == 0:
            _draw(DEMO_DATA)
        wait_for_all()
    done: dict[str, tuple[str, dict[str, Any]]] = {}  # a paper's full network is a row of each of its tables
    try:
        for table, found in jobs:
            results = {}
            for job in found:
                key = dump({**job.experiment.to_config(), 'name': ''})
                if key in done:
                    results[job.row, job.seed] = done[key][1]
                    print(f'{job.label}: the same config as {done[key][0]}')
                    continue
                results[job.row, job.seed] = finish(job)
                done[key] = f'{table.folder.name}/{job.row}', results[job.row, job.seed]
            text = table.text(results, args.data_label or _data_label(found[0]))
            print(f'\n{text}\n')
            target = found[0].folder.parent.parent / 'table.txt'
            target.parent.mkdir(parents=True, exist_ok=True)  # if every run was a row of another table
            if args.rows:
                print(f'the runs are in {target.parent}')
            else:
                if world()[0] == 0:
                    target.write_text(text + '\n', encoding='utf-8')
                print(f'written to {target}; each run lies beside it')
    except Interrupted as stopped:
        print('stopped; the same command goes on from here')
        return stopped.status
    return 0


@dataclass(frozen=True)
class Row(Job):
    """One run: a row of a table with one seed, on the data in a folder."""

    row: str
    seed: int
    data: str


@dataclass(frozen=True)
class Table:
    """A folder of configs that are the rows of one table.

    Attributes:
        folder: where they lie.
        title: what it is called.
        paper: what the paper's figures were measured on.
        settings: configs that may be laid over the rows.
        rows: by config name: `label` and the paper's `R1` and `mAP`, percent.
    """

    folder: Path
    title: str
    paper: str
    settings: dict[str, Path]
    rows: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Table:
        """Reads `table.yaml`.

        Raises:
            VireidError: if it lacks a key, or a row has no config.
        """
        from vireid.core.config.files import SUFFIXES, load

        path = folder / 'table.yaml'
        content = load(path)
        needed: dict[str, type] = {'title': str, 'paper': str, 'settings': dict, 'rows': dict}
        for key, kind in needed.items():
            if not isinstance(content.get(key), kind):
                allowed = 'text' if kind is str else 'names and what they stand for'
                raise VireidError(f'{path}: {key} is {content.get(key)!r}', allowed=allowed)
        for key in content:
            if key not in needed:
                raise VireidError(
                    f'{path}: no such key as {key!r}{did_you_mean(key, needed)}', allowed=', '.join(needed)
                )
        rows = {}
        for row, figures in content['rows'].items():
            config = next((p for suffix in SUFFIXES if (p := folder / f'{row}{suffix}').is_file()), None)
            if config is None:
                raise VireidError(f'{path}: there is no config {folder / row}.py', todo='write it, or take the row out')
            if not isinstance(figures, dict) or set(figures) != {'label', *COLUMNS}:
                raise VireidError(f'{path}: rows.{row} is {figures!r}', allowed='label, R1, mAP')
            if not all(isinstance(figures[c], (int, float)) for c in COLUMNS):
                raise VireidError(f'{path}: rows.{row} is {figures!r}', allowed='numbers in R1 and mAP, percent')
            rows[row] = {**figures, 'label': str(figures['label']), 'config': config}
        if not rows:
            raise VireidError(f'{path}: rows is empty', allowed='a row for each config')
        settings = {name: folder / str(over) for name, over in content['settings'].items()}
        return cls(folder, content['title'], content['paper'], settings, rows)

    def text(self, results: dict[tuple[str, int], dict[str, Any]], data: str) -> str:
        """Lays the measured figures beside the paper's."""
        first = next(iter(results.values()))
        seeds = len({seed for _, seed in results})
        lines = [('row', *(f'{c} here' for c in COLUMNS), *(f'{c} paper' for c in COLUMNS))]
        for row in dict.fromkeys(row for row, _ in results):
            figures = []
            for column in COLUMNS:
                values = [100 * found['rows'][0][column]['mean'] for (name, _), found in results.items() if name == row]
                spread = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
                figures.append(f'{statistics.fmean(values):.2f}{spread}')
            entry = self.rows[row]
            lines.append((entry['label'], *figures, *(f'{entry[column]:.2f}' for column in COLUMNS)))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = ['  '.join([c[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(c[1:], widths[1:], strict=True))])
                for c in lines]  # fmt: skip
        spread = f'mean ± sample standard deviation over {seeds} seeds' if seeds > 1 else 'one seed'
        return '\n'.join(
            [
                f'{self.title}, percent',
                f'  here:  {data}, {first["people"]} people to train on; {first["protocol"]}, '
                f'{first["rows"][0]["name"]}; {counted(first["steps"], "step")}; {first["select"]}; {spread}',
                f'  paper: {self.paper}',
                '  These are different data: compare the order of the rows, never the two halves of one.',
                '',
                body[0],
                '-' * len(body[0]),
                *body[1:],
            ]
        )


def _folders(args: argparse.Namespace) -> list[Path]:
    """Finds the folders of a table's rows: by path, or by name among the configs of plugins, vireid's own first."""
    name = args.table
    if (Path(name) / 'table.yaml').is_file():
        return [Path(name)]
    places = [args.configs] if args.configs else [f for found in make_manager(args).configs.values() for f in found]
    tables = [path.parent for place in places for path in sorted(place.glob('*/table.yaml'))]
    found = [folder for folder in tables if folder.name == name or folder.name.startswith(f'{name}_table')]
    if not found:
        raise VireidError(
            f'no table {name!r} in {", ".join(map(str, places))}',
            allowed=', '.join(folder.name for folder in tables) or 'a folder with a table.yaml',
            todo='name a folder with a table.yaml, or say where it lies with --configs DIR',
        )
    return found


def _draw(folder: Path) -> None:
    """Makes the generated people, unless they are there."""
    from vireid.synth import synthesize

    summary = synthesize(folder, layout='sysu', ids=120, seed=0)
    print(f'{summary.ids} generated people in {summary.folder}')


def _jobs(table: Table, args: argparse.Namespace) -> list[Row]:
    """Every run of a table, seed by seed, so that a first figure of each row is there early."""
    if args.on is not None and args.on not in table.settings:
        raise VireidError(
            f'--on {args.on}: {table.folder / "table.yaml"} has no such settings'
            f'{did_you_mean(args.on, table.settings)}',
            allowed=', '.join(table.settings) + ', or no --on for the configs as they are',
        )
    base = (args.work_dir or Path('runs/ablate')) / table.folder.name
    jobs: list[Row] = []
    for seed in dict.fromkeys(args.seeds):
        for row, entry in table.rows.items():
            if args.rows and row not in args.rows:
                continue
            own = copy(args)
            own.config, own.seed = str(entry['config']), seed
            if args.on == 'synth' and not args.data_root and not os.environ.get('VIREID_DATA'):
                own.data_root = str(DEMO_DATA)
            config = read_config(own, over=[table.settings[args.on]] if args.on else [])
            without_console(config)
            root = config['dataset'].get('root')
            data = config['dataset']['root'] = str(Path(root).expanduser().resolve()) if root else ''
            folder = base / row / f'seed_{seed}'
            jobs.append(Row(f'{row} seed {seed}', make_experiment(config, own), folder, row, seed, data))
    return jobs


def _data_label(row: Row) -> str:
    """Says what the pictures are and where they lie."""
    from vireid.core.config.origin import data_name

    return f'{data_name(row.experiment.dataset)} ({row.data})'
