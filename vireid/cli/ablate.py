"""Train the rows of an ablation table with several seeds, and print them beside the paper's metrics.

A table is a folder of configs with a `table.yaml`: `title`, `paper` (what its metrics were measured on), `settings`
(configs that may be laid over the rows, by name) and `rows` (config: label, R1, mAP in percent). Each row is a normal
run; repeat the same command to resume.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli.arguments import add_experiment_arguments, make_manager, overrides_of, parse_numbers
from vireid.cli.output import quiet_others
from vireid.cli.startup import importing
from vireid.core.errors import VireidError, did_you_mean

if TYPE_CHECKING:
    from vireid.core.config.overrides import Overrides
    from vireid.plugin_manager.manager import PluginManager
    from vireid.studies.ablation import Row, Table

DEMO_DATA = Path('data/demo')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid ablate`."""
    parser.add_argument('table', help='tffn, dmcf (every table of that paper), or a folder with a table.yaml')
    parser.add_argument(
        '--on',
        metavar='NAME',
        help='settings of the table to apply to its rows; synth: a small budget on synthetic people',
    )
    parser.add_argument(
        '--seeds', nargs='+', default=['0-2'], metavar='0-4', help='random seeds, a range or a list (default: 0-2)'
    )
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows (default: all)')
    parser.add_argument(
        '--configs',
        type=Path,
        metavar='DIR',
        help='folder to search for tables (default: the configs of installed plugins)',
    )
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='output folder (default: runs/ablate)')
    parser.add_argument('--data-label', metavar='TEXT', help='name of the data in the table')
    add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains what is missing and prints each table; 130 if Ctrl-C stopped it."""
    with importing():
        from vireid.core.signals import Interrupted
        from vireid.core.warn import warn_once
        from vireid.studies.ablation import Table, check_tables, run_tables

    if args.seed is not None:
        raise VireidError('--seed names one seed and a table takes several', todo=f'write --seeds {args.seed}')
    manager = make_manager(args)
    overrides = overrides_of(args)
    if args.on == 'synth':
        overrides = on_people(overrides)
    tables = [Table.read(folder) for folder in _folders(args, manager)]
    known = [row for table in tables for row in table.rows]
    for row in args.rows or ():
        if row not in known:
            raise VireidError(f'no row {row!r}{did_you_mean(row, known)}', allowed=', '.join(known))
    jobs = [(table, found) for table in tables if (found := _jobs(table, args, overrides, manager))]
    draws = args.on == 'synth' and any(Path(job.data) == DEMO_DATA.resolve() for _, found in jobs for job in found)
    check_tables(jobs, data=not draws)
    quiet_others()
    if draws:
        draw_people()
    try:
        run_tables(jobs, args.data_label or '', whole=not args.rows, warn=warn_once)
    except Interrupted as stopped:
        print('stopped; repeat the same command to resume')
        return stopped.status
    return 0


def _folders(args: argparse.Namespace, manager: PluginManager) -> list[Path]:
    """Finds the folders of a table's rows: by path, or by name among the configs of plugins, vireid's own first."""
    name = args.table
    if (Path(name) / 'table.yaml').is_file():
        return [Path(name)]
    places = [args.configs] if args.configs else [f for found in manager.configs.values() for f in found]
    tables = [path.parent for place in places for path in sorted(place.glob('*/table.yaml'))]
    found = [folder for folder in tables if folder.name == name or folder.name.startswith(f'{name}_table')]
    if not found:
        raise VireidError(
            f'no table {name!r} in {", ".join(map(str, places))}',
            allowed=', '.join(folder.name for folder in tables) or 'a folder with a table.yaml',
            todo='name a folder with a table.yaml, or say where it lies with --configs DIR',
        )
    return found


def draw_people() -> None:
    """Makes the synthetic people, unless they are there; the first of several processes does."""
    from vireid.core.distributed.processes import wait_for_all, world
    from vireid.synth import synthesize

    if world()[0] == 0:
        summary = synthesize(DEMO_DATA, layout='sysu', ids=120, seed=0)
        print(f'{summary.ids} synthetic people in {summary.folder}')
    wait_for_all()


def on_people(overrides: Overrides) -> Overrides:
    """Returns overrides that name the folder of the synthetic people, unless they name another."""
    if overrides.defaults or 'dataset.root' in overrides.values:
        return overrides
    return overrides.with_values({'dataset.root': str(DEMO_DATA)})


def _jobs(table: Table, args: argparse.Namespace, overrides: Overrides, manager: PluginManager) -> list[Row]:
    """Returns every run of a table, seed by seed, so that there is a first metric of each row early."""
    from vireid.launch.resolve import resolve
    from vireid.studies.ablation import Row
    from vireid.studies.jobs import make_job

    if args.on is not None and args.on not in table.settings:
        raise VireidError(
            f'--on {args.on}: {table.folder / "table.yaml"} has no such settings'
            f'{did_you_mean(args.on, table.settings)}',
            allowed=', '.join(table.settings) + ', or no --on for the configs as they are',
        )
    overrides = replace(overrides, over=[table.settings[args.on]] if args.on else [])
    base = (args.work_dir or Path('runs/ablate')) / table.folder.name
    rows: list[Row] = []
    for seed in parse_numbers('--seeds', ' '.join(args.seeds)):
        for row, entry in table.rows.items():
            if args.rows and row not in args.rows:
                continue
            own = overrides.with_values({'seed': seed})
            experiment = resolve(str(entry['config']), own, manager=manager)
            data = ''
            if root := experiment.dataset.get('root'):  # the same folder by any name is the same run
                data = str(Path(root).expanduser().resolve())
                experiment = experiment.with_overrides({'dataset.root': data})
            job = make_job(experiment, own, base / row / f'seed_{seed}', f'{row} seed {seed}')
            rows.append(Row(**vars(job), row=row, seed=seed, data=data))
    return rows
