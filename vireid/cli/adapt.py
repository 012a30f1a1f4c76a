"""Adapt a checkpoint to other cameras with their unlabeled images, without training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from shlex import quote

from vireid.core.errors import VireidError


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
    parser.add_argument(
        '--plugin', type=Path, action='append', default=[], metavar='FILE', help='a Python file with your components'
    )


def run(args: argparse.Namespace) -> int:
    """Prints what was estimated, and how to find out whether it helped."""
    if args.revert:
        return _revert(args)
    if args.images is None:
        raise VireidError('there are no images', todo='give their folder or table; or --revert, which needs none')
    from rich.progress import Progress

    from vireid.boundary.terminal import Terminal
    from vireid.exchange.adaptation import adapt

    with Progress(
        console=Terminal(), transient=True, refresh_per_second=4, disable=not sys.stdout.isatty()
    ) as progress:
        task = progress.add_task('reading')
        found = adapt(
            args.checkpoint,
            args.images,
            args.out,
            split=args.split,
            plugins=args.plugin,
            on_progress=lambda what, done, total: progress.update(task, description=what, completed=done, total=total),
        )
    print(f'{args.checkpoint} adapted to {args.images}: {args.out}\n{found.text()}')
    plugins = ''.join(f' --plugin {quote(str(file))}' for file in args.plugin)
    print(
        '\nOnly labelled images of these cameras can tell whether it helped. Score both files on them:\n'
        f'  vireid test CONFIG {quote(str(args.checkpoint))} --data-root DIR --work-dir before{plugins}\n'
        f'  vireid test CONFIG {quote(str(args.out))} --data-root DIR --work-dir after{plugins}\n'
        f'To take it back: vireid adapt {quote(str(args.out))} --revert -o ORIGINAL'
    )
    return 0


def _revert(args: argparse.Namespace) -> int:
    if args.images is not None or args.split is not None:
        raise VireidError('--revert takes neither images nor --split', todo='leave them out')
    from vireid.exchange.adaptation import revert

    print(f'{args.checkpoint} as it was before it was adapted, {revert(args.checkpoint, args.out)}: {args.out}')
    return 0
