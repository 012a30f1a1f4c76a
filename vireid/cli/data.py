"""Make generated data in the true layouts (`vireid data synth`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid data`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    synth = actions.add_parser(
        'synth',
        help='draw people, as visible and as infrared cameras see them',
        description='Draws people, as visible and as infrared cameras see them; a pure function of its arguments.',
    )
    synth.add_argument('out', type=Path, help='folder to make')
    synth.add_argument('--layout', default='sysu', help='sysu, regdb or llcm (default: sysu)')
    synth.add_argument('--ids', type=int, default=120, help='how many people (default: 120)')
    synth.add_argument('--seed', type=int, default=0, help='who they are (default: 0)')
    synth.add_argument('--images', type=int, help='pictures of a person on one camera')
    synth.add_argument('--workers', type=int, help='processes (default: one for each core)')


def run(args: argparse.Namespace) -> int:
    """Draws the people and prints what was made."""
    from rich.progress import Progress

    from vireid.synth import synthesize

    terminal = sys.stdout.isatty()  # elsewhere a bar would leave an empty line
    with Progress(transient=True, refresh_per_second=4, disable=not terminal) as progress:
        task = progress.add_task('drawing')
        summary = synthesize(
            args.out,
            layout=args.layout,
            ids=args.ids,
            seed=args.seed,
            images=args.images,
            workers=args.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    verb = 'found' if summary.reused else 'drew'
    print(
        f'{verb} {summary.ids} people in {summary.visible:,} visible and {summary.infrared:,} infrared pictures: '
        f'{summary.folder}'
    )
    return 0
