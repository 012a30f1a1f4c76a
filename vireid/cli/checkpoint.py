"""Show the contents of a checkpoint, without executing anything in it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of `vireid checkpoint`."""
    commands = parser.add_subparsers(dest='checkpoint_command', required=True, metavar='COMMAND')
    summary = 'show the run, the step and the size of each part'
    show = commands.add_parser('show', help=summary, description=f'{summary[0].upper()}{summary[1:]}.')
    show.add_argument('file', type=Path, help='a checkpoint (.pt)')
    show.add_argument('--tensors', action='store_true', help='list every tensor with its shape')
    show.add_argument('--config', action='store_true', help='print the stored config')


def run(args: argparse.Namespace) -> None:
    """Prints the summary, or the stored config."""
    from vireid.boundary import checkpoint
    from vireid.boundary.config_text import dump
    from vireid.exchange.checkpoint_summary import summarize

    content = checkpoint.load(args.file)
    if args.config:
        print(dump(content['config']), end='')
    else:
        print('\n'.join(summarize(args.file, content, args.tensors)))
