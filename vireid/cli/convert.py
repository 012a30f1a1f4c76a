"""Convert weights released by the authors of AGW or DDAG into a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_options_argument, add_plugin_arguments, make_manager, overrides_of

SYSTEMS = ('agw', 'ddag')  # repeated here because exchange.released imports torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid convert`."""
    parser.add_argument('system', choices=SYSTEMS, help='the system that the weights belong to')
    parser.add_argument(
        'file', type=Path, help="a file written by the authors' training code; nothing in it is executed"
    )
    parser.add_argument('-o', '--out', type=Path, metavar='FILE', required=True, help='checkpoint to write')
    parser.add_argument(
        '--config',
        metavar='CONFIG',
        help="a config with the same network for other data (default: the system's config)",
    )
    parser.add_argument(
        '--split', metavar='NAME', default='', help="the split it was trained on, such as 'split 3' of RegDB"
    )
    add_options_argument(parser)
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the result, and the command that scores it."""
    path = args.config or f'vireid::systems/{args.system}.py'
    from vireid.exchange.released import convert
    from vireid.launch.resolve import resolve

    experiment = resolve(path, overrides_of(args), manager=make_manager(args))
    converted = convert(args.system, args.file, args.out, experiment, args.split)
    print(f'{args.file} converted to {args.out}\n{converted.text()}')
    print(f'\n{converted.todo(path, str(experiment.protocol["type"]), args.cfg_options, args.plugin)}')
