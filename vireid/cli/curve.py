"""`vireid data curve`: rank-1 against the number of labelled people."""

from __future__ import annotations

import argparse
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.cli.experiment import add_arguments as add_experiment_arguments
from vireid.cli.experiment import make_experiment, make_manager, quiet_others, read_config, warn_once
from vireid.cli.stages import stages_before
from vireid.cli.startup import importing
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.studies.curve import Point


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid data curve`."""
    parser.add_argument('config', help='a config on your own images, such as configs/own_few.py')
    add_experiment_arguments(parser)
    parser.add_argument(
        '--identities', type=int, nargs='+', required=True, metavar='N', help='numbers of labelled people: 4 6 8 10'
    )
    parser.add_argument('--draws', type=int, default=2, metavar='D', help='draws of each number (default: 2)')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='default: runs/CONFIG_curve')
    parser.set_defaults(act=run)


def run(args: argparse.Namespace) -> int:
    """Trains what is missing and prints the curve; 130 if Ctrl-C stopped it."""
    with importing():
        from vireid.core.signals import Interrupted
        from vireid.studies.curve import run_curve

    numbers = sorted(set(args.identities))
    if len(numbers) < 2:
        raise VireidError(
            f'--identities is {" ".join(map(str, args.identities))}', allowed='two numbers or more, such as 4 8 12'
        )
    if args.draws < 1:
        raise VireidError(f'--draws is {args.draws}', allowed='1 or more')
    points = [_point(args, count, draw) for count in numbers for draw in range(args.draws)]
    quiet_others()
    try:
        run_curve(points, points[0].folder.parent, warn=warn_once)
    except Interrupted as stopped:
        print('stopped; the same command goes on from here')
        return stopped.status
    return 0


def require_own_images(config: dict[str, Any], args: argparse.Namespace, what: str) -> None:
    """Raises unless the config's reader can deal people, as those of one's own images can."""
    from vireid.core.registry.signature import signature_of

    name = config.get('dataset', {}).get('type')
    known = make_manager(args, config.get('plugins', ())).components
    if name in known.names('datasets') and 'identities' not in signature_of(known.get('datasets', name)).parameters:
        raise VireidError(
            f'{what} deals people anew, and the splits of {name} are fixed',
            allowed='Manifest and Folders, for your own images',
            todo='use a config such as vireid::own_few.py',
        )


def _point(args: argparse.Namespace, count: int, draw: int) -> Point:
    from vireid.studies.curve import Point
    from vireid.studies.jobs import without_console

    own = copy(args)
    own.cfg_options = [*args.cfg_options, f'dataset.identities={count}', f'dataset.draw={draw}']
    config = read_config(own)
    require_own_images(config, own, 'a learning curve')
    without_console(config)
    experiment = make_experiment(config, own)
    base = args.work_dir or Path('runs') / f'{experiment.name}_curve'
    label, folder = f'{count} people, draw {draw}', base / f'people_{count}_draw_{draw}'
    return Point(label, experiment, folder, stages_before(own, config, folder, label), count, draw)
