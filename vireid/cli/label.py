"""Open a page in the browser to name the people of unnamed crops: it proposes who is who, and you decide."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.boundary.progress_bar import named_progress_bar
from vireid.cli.arguments import add_embedding_arguments, add_listening_arguments
from vireid.cli.output import print_next
from vireid.core.errors import VireidError


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
        from vireid.core.wording import counted
        from vireid.labeling.labels import INDEX, Labels, drop_outdated, embed, only_one
        from vireid.labeling.tracks import find_crops
        from vireid.search.index import ZERO_SHOT, Index
        from vireid.search.open_embedder import open_embedder
        from vireid.serve.label_app import create_app
    address = Address(args.host, args.port, args.token, args.open)
    folder = args.folder.expanduser()
    if not folder.is_dir():
        raise VireidError(f'{folder} is not a folder', allowed='a folder of crops')
    found, names, notes = find_crops(folder, args.modality)
    with only_one(folder) as own:
        checkpoint = ZERO_SHOT if args.checkpoint == 'zero-shot' else str(Path(args.checkpoint).absolute())
        drop_outdated(own / INDEX, found, checkpoint)
        zero_shot = own / INDEX / ZERO_SHOT
        embedder = open_embedder(args.checkpoint, zero_shot, found, args.cfg_options, args.plugin)
        with named_progress_bar('reading') as show:
            update = embed(folder, found, embedder, checkpoint, args.plugin, show)
        print(f'{folder}\n{update.text()}')
        labels = Labels(folder, Index.open(own / INDEX, args.plugin), names)
        for line in (*notes, *labels.notes()):
            print(f'note: {line}')
        what = f'{counted(len(labels.tracks), "track")}, {counted(labels.version, "answer")} so far'
        serve(address, what, str(labels.journal.path), lambda hosts, token: create_app(labels, hosts, token))
        for line in labels.summary.lines():
            print(line)
        if labels.summary.people:
            print_next(folder)
