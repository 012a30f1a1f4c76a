"""Train what the tables of a paper need, and print ours beside the paper's with a verdict per figure.

Every run is a normal run; repeat the same command to resume. All are scored by both protocol families. Before it
starts, the command estimates the hours. See docs/reproduce.md for the verdicts.
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
from vireid.cli.output import is_interactive, progress_bar, quiet_others, run_resumable
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.wording import counted

if TYPE_CHECKING:
    from vireid.studies.reproduction import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid reproduce`."""
    parser.add_argument('paper', help='tffn, dmcf, or a folder with a table.yaml')
    parser.add_argument(
        '--tables', nargs='+', metavar='NAME', help='only these tables, such as tffn_table3 (default: all of the paper)'
    )
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows, such as tffn,ddag (default: all)')
    parser.add_argument(
        '--seeds',
        nargs='+',
        metavar='0-4',
        help='random seeds, a range or a list (default: 0-2; for RegDB 0, with each of its ten splits)',
    )
    parser.add_argument(
        '--on', metavar='NAME', help='settings of the tables to apply to their rows, such as synth: a small budget'
    )
    parser.add_argument(
        '--allow-differences',
        action='store_true',
        help='also run with other data or settings than the paper; then the figures are not comparable',
    )
    parser.add_argument('--yes', action='store_true', help='start without asking, even without a GPU')
    parser.add_argument('--dry-run', action='store_true', help='print the runs and the estimate, and stop')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='output folder (default: runs/reproduce)')
    add_launcher_arguments(parser)
    add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints the tables; returns the exit status, 130 after Ctrl-C."""
    from vireid.core.warn import warn_once
    from vireid.studies.ablation import Table
    from vireid.studies.ablation_rows import find_tables
    from vireid.studies.reproduction import SPLITS, check, find_data, plan, reproduce

    for flag, given in (('--seed', args.seed), ('--trial', args.trial), ('--protocol', args.protocol)):
        if given is not None:
            raise VireidError(
                f'{flag} does not apply to reproduce, which uses several seeds, all splits, and both protocols',
                todo=f'remove {flag}; for other seeds, use --seeds',
            )
    manager, overrides = make_manager(args), overrides_of(args)
    places = [place for own in manager.configs.values() for folder in own for place in (folder, folder / 'papers')]
    tables = sorted(map(Table.read, find_tables(args.paper, places)), key=lambda table: table.title)
    tables = [table for table in tables if table.folder.name in _chosen(args.tables, [t.folder.name for t in tables])]
    only = _chosen(args.rows, [row for table in tables for row in table.rows]) if args.rows else []
    root = overrides.values.get('dataset.root') or overrides.defaults.get('dataset.root', (None,))[0]
    data, base = find_data(root, manager), args.work_dir or Path('runs/reproduce')
    seeds = parse_numbers('--seeds', ' '.join(args.seeds or ['0' if data in SPLITS else '0-2']))
    whole = plan(tables, data, overrides, manager, base, seeds, args.on, only)
    _require_same(whole, args.allow_differences)
    launcher = make_launcher(args, manager, base)
    if not args.dry_run:  # the estimate needs no pretrained weights
        check(whole)
    quiet_others()
    if not _begin(whole, args):
        return 0
    return run_resumable(lambda: reproduce(whole, base, launcher, warn=warn_once))


def _chosen(given: list[str] | None, known: list[str]) -> list[str]:
    """Returns the names that were given, or all; raises for one that is unknown."""
    chosen = [name for word in given or () for name in word.split(',') if name]
    for name in chosen:
        if name not in known:
            raise VireidError(f'no {name!r}{did_you_mean(name, known)}', allowed=', '.join(dict.fromkeys(known)))
    return chosen or known


def _require_same(whole: Plan, allowed: bool) -> None:
    """Raises if the data or the settings differ from those of the paper, unless that is allowed."""
    reasons = list(dict.fromkeys(whole.reasons.values()))
    if reasons and not allowed:
        raise VireidError(
            f'nothing could be compared with the paper: {"; ".join(reasons)}',
            todo='use the data and settings of the paper (vireid data check counts the images), or add '
            '--allow-differences to run anyway; then the figures are marked "not comparable"',
        )


def _begin(whole: Plan, args: argparse.Namespace) -> bool:
    """Prints what is to be trained and how long it takes; returns whether to start. Without a GPU, it asks.

    Raises:
        VireidError: if there is no GPU, and no terminal to confirm on.
    """
    import torch

    from vireid.launch.cost import DEVICES
    from vireid.studies.reproduction import estimate_hours, missing

    jobs = missing(whole)
    total = len(whole.unique())
    print(f'{whole.data}: {counted(total, "run")}, {total - len(jobs)} finished')
    if not jobs:
        return not args.dry_run
    processor, *gpus = DEVICES
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ''
    elsewhere = bool(args.launcher) and args.launcher[0] != 'local'
    known = [name for name in gpus if name in gpu]
    with progress_bar('estimating') as show:
        costs = estimate_hours(jobs, [processor, *(known or gpus)], show)
    print('estimated time, one run after the other:')
    for name in (*(known or gpus), processor):
        print(f'  {name}: {_time(costs[name])} ({DEVICES[name].basis})')
    if args.dry_run:
        return False
    if gpu or elsewhere or args.yes:
        return True
    if not is_interactive():
        raise VireidError(
            f'there is no GPU here, and training takes about {_time(costs[processor])} on {processor}',
            todo='use a machine with a GPU, or a cluster (--launcher slurm); or add --yes to train here anyway',
        )
    return input('There is no GPU here. Train on the processor anyway? [y/N] ').strip().lower() in ('y', 'yes')


def _time(value: float) -> str:
    """Formats hours; from two days on, as days."""
    from vireid.launch.cost import hours

    return f'{hours(value / 24)} days' if value >= 48 else f'{hours(value)} hours'
