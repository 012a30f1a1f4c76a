"""Compare configs or finished runs, and test which differences are significant.

Configs are trained with each seed; repeat the same command to resume. Finished runs are compared as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli import arguments
from vireid.console.number_ranges import parse_numbers
from vireid.console.warn import warn_once
from vireid.errors import Conflict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid compare`."""
    parser.add_argument('systems', nargs='+', metavar='CONFIG|RUN', help='configs, or folders of finished runs')
    parser.add_argument(
        '--on', metavar='FILE', help='a config to apply on top of each; synth: a small budget on synthetic people'
    )
    parser.add_argument('--seeds', metavar='0-4', help='random seeds, a range or a list (default: 0-2)')
    arguments.add_folder_argument(parser, 'runs/compare')
    parser.add_argument(
        '--allow-differences',
        action='store_true',
        help='also compare runs with different protocols, data or budgets, and note it',
    )
    arguments.add_launcher_arguments(parser)
    arguments.add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints the comparison; returns the exit status, 130 after Ctrl-C."""
    from vireid.studies.comparison_runs import SYNTHETIC, compare_and_write, prepare_systems
    from vireid.studies.resumable import run_resumable

    if args.seed is not None:
        raise Conflict('--seed sets a single seed, but a comparison needs several', todo=f'use --seeds {args.seed}')
    base, seeds = args.work_dir or Path('runs/compare'), parse_numbers('--seeds', args.seeds or '0-2')
    if (args.on or args.seeds) and all(Path(name).is_dir() for name in args.systems):
        flag = '--on' if args.on else '--seeds'
        raise Conflict(f'{flag} applies to configs, but all of these are finished runs', todo=f'remove {flag}')
    manager = arguments.make_manager(args)
    systems = prepare_systems(args.systems, seeds, base, arguments.overrides_of(args), manager, args.on or None)
    launcher = arguments.make_launcher(args, manager, base)
    synthetic, differences = args.on == SYNTHETIC, args.allow_differences
    return run_resumable(lambda: compare_and_write(systems, base, differences, synthetic, launcher, warn=warn_once))
