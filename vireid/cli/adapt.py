"""Adapt a checkpoint to other cameras with their unlabeled images, without training."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_plugin_argument
from vireid.console.progress_bar import named_progress_bar
from vireid.errors import Conflict, MissingKey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid adapt`."""
    parser.add_argument('checkpoint', type=Path, help='a checkpoint (.pt)')
    parser.add_argument(
        'images',
        type=Path,
        nargs='?',
        help='folder with visible/ and infrared/, or a table (CSV) with the columns path and modality',
    )
    parser.add_argument('-o', '--out', type=Path, metavar='FILE', required=True, help='checkpoint to write')
    parser.add_argument('--split', metavar='NAME', help='only the rows of this split')
    parser.add_argument('--revert', action='store_true', help='restore the checkpoint as it was before adaptation')
    add_plugin_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Prints what was estimated, and how to measure the effect."""
    if args.revert:
        _revert(args)
        return
    if args.images is None:
        raise MissingKey('no images were given', todo='give a folder or a table, or use --revert, which needs none')
    from vireid.exchange.adaptation import adapt

    with named_progress_bar('reading') as show:
        adaptation = adapt(
            args.checkpoint, args.images, args.out, split=args.split, plugins=args.plugin, on_progress=show
        )
    print(f'{args.checkpoint} adapted to {args.images}: {args.out}\n{adaptation.text()}')
    print(f'\n{adaptation.todo(args.checkpoint, args.plugin)}')


def _revert(args: argparse.Namespace) -> None:
    if args.images is not None or args.split is not None:
        raise Conflict('--revert accepts neither images nor --split', todo='remove them')
    from vireid.exchange.adaptation import revert

    print(f'{args.checkpoint} before adaptation, {revert(args.checkpoint, args.out)}: {args.out}')
