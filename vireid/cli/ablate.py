"""Train the rows of an ablation table with several seeds, and print them beside the paper's metrics.

A table is a folder of configs with a `table.yaml`: `title`, `paper` (what its metrics were measured on), `settings`
(configs that can be applied to the rows, by name) and `rows` (config: label, R1, mAP in percent). Each row is a normal
run; repeat the same command to resume.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli.arguments import (
    add_experiment_arguments,
    add_launcher_arguments,
    make_launcher,
    make_manager,
    overrides_of,
    parse_numbers,
)
from vireid.cli.output import quiet_others, run_resumable
from vireid.core.errors import VireidError, did_you_mean

if TYPE_CHECKING:
    from vireid.core.config.overrides import Overrides

DEMO_DATA, PEOPLE = Path('data/demo'), 120
START_DATA, START_PEOPLE = Path('data/start'), 240  # other people, for the starts of a table


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
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows, such as agw,cmgan (default: all)')
    parser.add_argument(
        '--configs',
        type=Path,
        metavar='DIR',
        help='folder to search for tables (default: the configs of installed plugins)',
    )
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='output folder (default: runs/ablate)')
    parser.add_argument('--data-label', metavar='TEXT', help='name of the data in the table')
    add_launcher_arguments(parser)
    add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints each table; returns the exit status, 130 after Ctrl-C."""
    from vireid.core.warn import warn_once
    from vireid.studies.ablation import Table, check_tables, run_tables
    from vireid.studies.ablation_rows import find_tables, make_rows, make_starts
    from vireid.studies.launching import finish_all

    if args.seed is not None:
        raise VireidError('--seed sets a single seed, but a table needs several', todo=f'use --seeds {args.seed}')
    manager = make_manager(args)
    overrides = overrides_of(args)
    if args.on == 'synth':
        overrides = on_people(overrides)
    places = [args.configs] if args.configs else [folder for own in manager.configs.values() for folder in own]
    only = [row for given in args.rows or () for row in given.split(',') if row]
    tables = [Table.read(folder) for folder in find_tables(args.table, places)]
    known = [row for table in tables for row in table.rows]
    for row in only:
        if row not in known:
            raise VireidError(f'no row {row!r}{did_you_mean(row, known)}', allowed=', '.join(known))
    base, seeds = args.work_dir or Path('runs/ablate'), parse_numbers('--seeds', ' '.join(args.seeds))
    starts = {table.folder: make_starts(table, manager, base, only) if args.on else {} for table in tables}
    weights = {folder: {name: job.weights() for name, job in own.items()} for folder, own in starts.items()}
    runs = (
        (table, make_rows(table, overrides, manager, base, seeds, args.on, only, weights[table.folder]))
        for table in tables
    )
    jobs = [(table, rows) for table, rows in runs if rows]
    launcher = make_launcher(args, manager, base)
    synthetic = args.on == 'synth' and any(Path(job.data) == DEMO_DATA.resolve() for _, rows in jobs for job in rows)
    started = [job for own in starts.values() for job in own.values()]
    if not started:
        check_tables(jobs, data=not synthetic)
    quiet_others()
    if synthetic:
        generate_people(DEMO_DATA, PEOPLE, seed=0)

    def work() -> None:
        if any(job.experiment.dataset.get('root') == str(START_DATA) for job in started):
            generate_people(START_DATA, START_PEOPLE, seed=1)
        if started:  # only then are there weights to check
            finish_all(started, launcher, base, warn=warn_once)
            check_tables(jobs, data=not synthetic)
        run_tables(jobs, base, launcher, args.data_label or '', whole=not only, warn=warn_once)

    return run_resumable(work)


def generate_people(folder: Path, people: int, seed: int) -> None:
    """Generates synthetic people if they do not exist yet; only rank 0 does."""
    from vireid.core.distributed.processes import wait_for_all, world
    from vireid.synth import synthesize

    if world()[0] == 0:
        summary = synthesize(folder, layout='sysu', ids=people, seed=seed)
        print(f'{summary.ids} synthetic people in {summary.folder}')
    wait_for_all()


def on_people(overrides: Overrides) -> Overrides:
    """Returns overrides that use the synthetic people, unless another data folder is given."""
    if overrides.defaults or 'dataset.root' in overrides.values:
        return overrides
    return overrides.with_values({'dataset.root': str(DEMO_DATA)})
