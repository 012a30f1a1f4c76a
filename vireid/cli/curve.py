"""`vireid data curve`: rank-1 against the number of labeled people."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from vireid.cli.arguments import (
    add_experiment_arguments,
    add_launcher_arguments,
    make_launcher,
    make_manager,
    overrides_of,
)
from vireid.cli.output import quiet_others, run_resumable
from vireid.core.errors import VireidError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid data curve`."""
    parser.add_argument('config', help='a config on your own images, such as vireid::own_few.py')
    add_experiment_arguments(parser)
    parser.add_argument(
        '--identities',
        type=int,
        nargs='+',
        required=True,
        metavar='N',
        help='numbers of labeled people, such as 4 6 8 10',
    )
    parser.add_argument('--draws', type=int, default=2, metavar='D', help='random draws for each number (default: 2)')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='output folder (default: runs/CONFIG_curve)')
    add_launcher_arguments(parser)
    parser.set_defaults(act=run)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints the curve; returns the exit status, 130 after Ctrl-C."""
    from vireid.core.warn import warn_once
    from vireid.launch.resolve import resolve
    from vireid.studies.curve import Point, run_curve
    from vireid.studies.jobs import make_job, require_own_images

    numbers = sorted(set(args.identities))
    if len(numbers) < 2:
        raise VireidError(
            f'--identities is {" ".join(map(str, args.identities))}',
            allowed='at least two, such as 4 8 12',
        )
    if args.draws < 1:
        raise VireidError(f'--draws is {args.draws}', allowed='at least 1')
    overrides, manager = overrides_of(args), make_manager(args)
    require_own_images(args.config, overrides, manager, 'a learning curve')
    points = []
    for count, draw in [(count, draw) for count in numbers for draw in range(args.draws)]:
        own = replace(overrides, options=[*overrides.options, f'dataset.identities={count}', f'dataset.draw={draw}'])
        experiment = resolve(args.config, own, manager=manager)
        base = args.work_dir or Path('runs') / f'{experiment.name}_curve'
        job = make_job(experiment, own, base / f'people_{count}_draw_{draw}', f'{count} people, draw {draw}')
        points.append(Point(**vars(job), identities=count, draw=draw))
    base = points[0].folder.parent
    launcher = make_launcher(args, manager, base)
    quiet_others()
    return run_resumable(lambda: run_curve(points, base, launcher, warn=warn_once))
