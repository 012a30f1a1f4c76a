"""`vireid data curve`: rank-1 against the number of labeled people."""

from __future__ import annotations

import argparse

from vireid.cli import arguments
from vireid.console.warn import warn_once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid data curve`."""
    parser.add_argument('config', help='a config on your own images, such as vireid::own_few.py')
    arguments.add_experiment_arguments(parser)
    parser.add_argument(
        '--identities',
        type=int,
        nargs='+',
        required=True,
        metavar='N',
        help='numbers of labeled people, such as 4 6 8 10',
    )
    parser.add_argument('--draws', type=int, default=2, metavar='D', help='random draws for each number (default: 2)')
    arguments.add_folder_argument(parser, 'runs/CONFIG_curve')
    arguments.add_launcher_arguments(parser)
    parser.set_defaults(act=run)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints the curve; returns the exit status, 130 after Ctrl-C."""
    from vireid.studies.curve import make_points, run_curve
    from vireid.studies.resumable import run_resumable

    overrides, manager = arguments.overrides_of(args), arguments.make_manager(args)
    points = make_points(args.config, overrides, manager, args.identities, args.draws, args.work_dir)
    base = points[0].folder.parent
    launcher = arguments.make_launcher(args, manager, base)
    return run_resumable(lambda: run_curve(points, base, launcher, warn=warn_once))
