"""Run a table of ablations, several seeds a row, and print it beside the paper's figures.

A table is a folder of configs with a `table.yaml`: `title`, `paper` (what its figures were measured on), `settings`
(configs that may be laid over the rows, by name) and `rows` (config: label, R1, mAP in percent). Each row is a normal
run; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.cli.experiment import add_arguments as add_experiment_arguments
from vireid.cli.experiment import make_experiment, read_config
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.plugins import hookimpl

if TYPE_CHECKING:
    from vireid.core.experiment import Experiment

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
    parser.add_argument('--configs', type=Path, default=Path('configs'), metavar='DIR', help='default: configs')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='default: runs/ablate')
    add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains what is missing and prints each table; 130 if Ctrl-C stopped it."""
    from vireid.core.config import dump
    from vireid.core.run import Interrupted

    if args.seed is not None:
        raise VireidError('--seed names one seed and a table takes several', todo=f'write --seeds {args.seed}')
    tables = [Table.read(folder) for folder in _folders(args.table, args.configs)]
    if args.rows:
        known = [row for table in tables for row in table.rows]
        for row in args.rows:
            if row not in known:
                raise VireidError(f'no row {row!r}{did_you_mean(row, known)}', allowed=', '.join(known))
    jobs = [(table, _jobs(table, args)) for table in tables]  # all of them, so that all configs are checked first
    if args.on == 'synth' and args.data_root is None and 'VIREID_DATA' not in os.environ:
        _draw(DEMO_DATA)
    done: dict[str, tuple[str, dict[str, Any]]] = {}  # a paper's full network is a row of each of its tables
    try:
        for table, found in jobs:
            results = {}
            for row, seed, experiment, folder in found:
                key = dump({**experiment.to_config(), 'name': ''})
                if key in done:
                    results[row, seed] = done[key][1]
                    print(f'{row} seed {seed}: the same config as {done[key][0]}')
                    continue
                results[row, seed] = _result(table, row, seed, experiment, folder)
                done[key] = f'{table.folder.name}/{row}', results[row, seed]
            text = table.text(results, args)
            print(f'\n{text}\n')
            target = found[0][3].parent.parent / 'table.txt'
            target.parent.mkdir(parents=True, exist_ok=True)  # if every run was a row of another table
            target.write_text(text + '\n', encoding='utf-8')
            print(f'written to {target}; each run lies beside it')
    except Interrupted:
        print('stopped; the same command goes on from here')
        return 130
    return 0


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
        from vireid.core.config import load

        path = folder / 'table.yaml'
        content = load(path)
        needed = ('title', 'paper', 'settings', 'rows')
        if set(content) != set(needed):
            raise VireidError(f'{path} holds {", ".join(content)}', allowed=', '.join(needed))
        for row, figures in content['rows'].items():
            if not (folder / f'{row}.py').is_file():
                raise VireidError(f'{path}: there is no config {folder / row}.py', todo='write it, or take the row out')
            if not isinstance(figures, dict) or set(figures) != {'label', *COLUMNS}:
                raise VireidError(f'{path}: rows.{row} is {figures!r}', allowed='label, R1, mAP')
        settings = {name: folder / over for name, over in content['settings'].items()}
        return cls(folder, content['title'], content['paper'], settings, content['rows'])

    def text(self, results: dict[tuple[str, int], dict[str, Any]], args: argparse.Namespace) -> str:
        """Lays the measured figures beside the paper's."""
        first = next(iter(results.values()))
        seeds = len(args.seeds)
        lines = [('row', *(f'{c} here' for c in COLUMNS), *(f'{c} paper' for c in COLUMNS))]
        for row in dict.fromkeys(row for row, _ in results):
            figures = []
            for column in COLUMNS:
                values = [100 * found['rows'][0][column][0] for (name, _), found in results.items() if name == row]
                spread = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
                figures.append(f'{statistics.fmean(values):.2f}{spread}')
            entry = self.rows[row]
            lines.append((entry['label'], *figures, *(f'{entry[column]:.2f}' for column in COLUMNS)))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = ['  '.join([c[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(c[1:], widths[1:], strict=True))])
                for c in lines]  # fmt: skip
        spread = f'mean ± standard deviation over {seeds} seeds' if seeds > 1 else 'one seed'
        return '\n'.join(
            [
                f'{self.title}, percent',
                f'  here:  {"generated people" if args.on == "synth" and not args.data_root else args.data_root}, '
                f'{first["people"]} to train on; {first["protocol"]}, {first["rows"][0]["name"]}; '
                f'{first["steps"]:,} steps; {spread}',
                f'  paper: {self.paper}',
                '  These are different data: compare the order of the rows, never the two halves of one.',
                '',
                body[0],
                '-' * len(body[0]),
                *body[1:],
            ]
        )


def _folders(name: str, configs: Path) -> list[Path]:
    if (Path(name) / 'table.yaml').is_file():
        return [Path(name)]
    tables = sorted(path.parent for path in configs.glob('*/table.yaml'))
    found = [folder for folder in tables if folder.name == name or folder.name.startswith(f'{name}_table')]
    if not found:
        raise VireidError(
            f'no table {name!r} in {configs}',
            allowed=', '.join(folder.name for folder in tables) or 'a folder with a table.yaml',
            todo='run it from the repository, or say where its configs are with --configs DIR',
        )
    return found


def _draw(folder: Path) -> None:
    """Makes the generated people, unless they are there."""
    from vireid.synth import synthesize

    summary = synthesize(folder, layout='sysu', ids=120, seed=0)
    print(f'{summary.ids} generated people in {summary.folder}')


def _jobs(table: Table, args: argparse.Namespace) -> list[tuple[str, int, Experiment, Path]]:
    """Every run of a table: row, seed, experiment, folder; seed by seed, so that a first table is there early."""
    if args.on is not None and args.on not in table.settings:
        raise VireidError(
            f'--on {args.on}: {table.folder / "table.yaml"} has no such settings'
            f'{did_you_mean(args.on, table.settings)}',
            allowed=', '.join(table.settings) + ', or no --on for the configs as they are',
        )
    base = (args.work_dir or Path('runs/ablate')) / table.folder.name
    jobs = []
    for seed in dict.fromkeys(args.seeds):
        for row in table.rows:
            if args.rows and row not in args.rows:
                continue
            own = copy(args)
            own.config, own.seed = str(table.folder / f'{row}.py'), seed
            own.data_root = args.data_root or (str(DEMO_DATA) if args.on == 'synth' else None)
            config = read_config(own, over=[table.settings[args.on]] if args.on else [])
            config['loggers'] = [logger for logger in config.get('loggers', []) if logger.get('type') != 'Console']
            jobs.append((row, seed, make_experiment(config), base / row / f'seed_{seed}'))
    return jobs


def _result(table: Table, row: str, seed: int, experiment: Experiment, folder: Path) -> dict[str, Any]:
    """Returns the result of a run, training it or its rest if need be."""
    from vireid.core import config
    from vireid.core.training import train

    settings = experiment.to_config()
    if (folder / 'config.yaml').is_file():
        earlier = config.load(folder / 'config.yaml')
        changed = _changed(settings, earlier)
        if changed:
            raise VireidError(
                f'{folder} holds a run with another {", ".join(changed)}',
                todo='choose another --work-dir, or delete it',
            )
    label = f'{row} seed {seed}'
    path = folder / 'result.json'
    if path.is_file():
        result = json.loads(path.read_text(encoding='utf-8'))
        print(f'{_line(label, result)}  (done before)')
        return result
    checkpoint = folder / 'checkpoints' / 'last.pt'
    bar = _Bar(label)
    experiment.manager.register(bar, f'progress of {table.title}')
    results = train(experiment, folder, resume=checkpoint if checkpoint.is_file() else None)
    result = {'protocol': results.protocol, 'rows': results.rows(), 'people': bar.people, 'steps': bar.steps}
    part = path.with_suffix('.part')
    part.write_text(json.dumps(result), encoding='utf-8')
    part.replace(path)
    print(_line(label, result))
    return result


def _changed(settings: dict[str, Any], earlier: dict[str, Any]) -> list[str]:
    """Names the sections in which two configs differ, but for where the data lies and what runs them."""
    from vireid.core import config

    def lasting(found: dict[str, Any]) -> dict[str, str]:
        kept = {**found, 'dataset': {**found['dataset'], 'root': None}, 'images': {**found['images'], 'workers': None}}
        return {key: config.dump({key: kept[key]}) for key in kept}

    ours, theirs = lasting(settings), lasting(earlier)
    return [key for key in ours if ours[key] != theirs.get(key)]


def _line(label: str, result: dict[str, Any]) -> str:
    row = result['rows'][0]
    return f'{label:<40} rank-1 {100 * row["R1"][0]:5.2f}  mAP {100 * row["mAP"][0]:5.2f}'


class _Bar:
    """Watches one run: a progress bar on a terminal, and what the table's head says."""

    def __init__(self, label: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.people = self.steps = 0
        self._bar = Progress(
            TextColumn(label), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(), transient=True
        )
        self._bar.disable = not self._bar.console.is_terminal
        self._task: Any = None

    @hookimpl
    def run_started(self, run: Any) -> None:
        self.people = len({sample.identity for sample in run.samples})
        self.steps = run.progress.total_steps
        self._task = self._bar.add_task('', total=self.steps, completed=run.progress.step)
        self._bar.start()

    @hookimpl
    def step_ended(self, progress: Any) -> None:
        self._bar.update(self._task, completed=progress.step)

    @hookimpl
    def run_ended(self) -> None:
        self._bar.stop()
