"""Start a web page to name the people in crops: it proposes groups of images, and you decide."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_embedding_arguments, add_listening_arguments
from vireid.cli.output import print_next


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid label`."""
    parser.add_argument(
        'folder', type=Path, metavar='DIR', help='a folder of crops, written by `vireid crops` or with images in '
        'folders such as visible/cam1/0001',
    )  # fmt: skip
    parser.add_argument(
        '--checkpoint', default='zero-shot', metavar='FILE', help='a checkpoint (.pt) that embeds the crops (default: '
        'zero-shot, a pretrained network without training)',
    )  # fmt: skip
    add_listening_arguments(parser)
    add_embedding_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Embeds the crops that are new, serves the page until Ctrl-C, and prints what was named."""
    from vireid.serve.listening import Address, explained_imports, serve

    with explained_imports():
        from vireid.console.wording import counted
        from vireid.labeling.session import open_labels
        from vireid.serve.label_app import create_app
    address, folder = Address(args.host, args.port, args.token, args.open), args.folder.expanduser()
    with open_labels(folder, args.modality, args.checkpoint, args.cfg_options, args.plugin) as labels:
        what = f'{counted(len(labels.tracks), "track")}, {counted(labels.version, "answer")} so far'
        serve(address, what, str(labels.journal.path), lambda hosts, token: create_app(labels, hosts, token))
        print('\n'.join(labels.summary.lines()))
        if labels.summary.people:
            print_next(folder)
