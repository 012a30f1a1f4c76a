"""Train the rows of an ablation table with several seeds, and print them beside the paper's metrics.

A table is a folder of configs with a `table.yaml`: `title`, `paper` (what its metrics were measured on), `settings`
(configs that can be applied to the rows, by name) and `rows` (config: label, R1, mAP in percent). Each row is a normal
run; repeat the same command to resume.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli import arguments
from vireid.console.number_ranges import parse_numbers
from vireid.console.warn import warn_once
from vireid.errors import Conflict


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
    arguments.add_folder_argument(parser, 'runs/ablate')
    parser.add_argument('--data-label', metavar='TEXT', help='name of the data in the table')
    arguments.add_launcher_arguments(parser)
    arguments.add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints each table; returns the exit status, 130 after Ctrl-C."""
    from vireid.studies.ablation_plan import plan_ablation
    from vireid.studies.resumable import run_resumable

    if args.seed is not None:
        raise Conflict('--seed sets a single seed, but a table needs several', todo=f'use --seeds {args.seed}')
    manager, base = arguments.make_manager(args), args.work_dir or Path('runs/ablate')
    places = [args.configs] if args.configs else [folder for own in manager.configs.values() for folder in own]
    seeds = parse_numbers('--seeds', ' '.join(args.seeds))
    plan = plan_ablation(
        args.table, places, arguments.overrides_of(args), manager, base, seeds, args.on, args.rows or ()
    )
    launcher = arguments.make_launcher(args, manager, base)
    plan.check()
    return run_resumable(lambda: plan.run(launcher, args.data_label or '', warn=warn_once))
