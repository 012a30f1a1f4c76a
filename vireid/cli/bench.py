"""Find out in a minute what limits training on this machine, and what to change."""

from __future__ import annotations

import argparse
import json

from vireid.cli.arguments import add_experiment_arguments, make_manager, overrides_of
from vireid.console.progress_bar import progress_bar

ACTIONS = {
    'data': (
        'time the loader, the step and both together',
        'Time the loader alone, the training step alone and both together, say which of the two limits training, and '
        'try other numbers of loader processes and a cache. Without the data of the config, images are '
        'generated in a temporary folder.',
    ),
    'step': (
        'time the training step on images that are on the device',
        'Time the training step on random images that are on the device already, and try fewer threads, another '
        'precision and memory format and, on a GPU, compilation and larger batches. This needs no data.',
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid bench`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    for name, (summary, description) in ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=description)
        action.add_argument('config', help='a config file, such as vireid::tffn_sysu.py')
        group = add_experiment_arguments(action)
        group.add_argument(
            '--seconds', type=float, default=30, metavar='N', help='how long to repeat the measurements (default: 30)'
        )
        action.add_argument('--json', action='store_true', help='print everything that was measured as JSON')


def run(args: argparse.Namespace) -> None:
    """Prints what was measured, and what to change."""
    from vireid.diagnostics.bench import bench
    from vireid.launch.resolve import resolve

    experiment = resolve(args.config, overrides_of(args), manager=make_manager(args))
    with progress_bar('building the model') as show:
        result = bench(args.action, experiment, args.seconds, show)
    print(json.dumps(result.to_dict(), indent=2) if args.json else result.text())
