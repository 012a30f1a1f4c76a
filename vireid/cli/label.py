"""Open a page in the browser to name the people of unnamed crops: it proposes who is who, and you decide."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from shlex import quote

from vireid.cli.extract import add_model_arguments, make_embedder
from vireid.cli.listening import add_listening_arguments, require_token, serve, serving
from vireid.cli.output import progress_bar
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
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Embeds the crops that are new, serves the page until Ctrl-C, and prints what was named."""
    with serving():
        from vireid.core.wording import counted
        from vireid.labeling.labels import INDEX, Labels, embed, only_one
        from vireid.labeling.tracks import find_crops
        from vireid.search.index import ABOUT, ZERO_SHOT, Index
        from vireid.serve.label_app import create_app
    require_token(args)
    folder = args.folder.expanduser()
    if not folder.is_dir():
        raise VireidError(f'{folder} is not a folder', allowed='a folder of crops')
    found, names, notes = find_crops(folder, args.modality)
    untrained = args.checkpoint == 'zero-shot'
    with only_one(folder) as own:
        checkpoint = ZERO_SHOT if untrained else str(Path(args.checkpoint).absolute())
        if (own / INDEX / ABOUT).exists():
            before = Index.open(own / INDEX)
            new = {image.modality for image in found} - {'', *before.modalities()}  # it was not centered without it
            if before.about['checkpoint'] != checkpoint or (untrained and new):
                shutil.rmtree(own / INDEX)  # the answers hold for any embeddings
        embedder = make_embedder(args.checkpoint, own / INDEX / ZERO_SHOT, found, args.cfg_options, args.plugin)
        with progress_bar('reading') as show:
            update = embed(
                folder, found, embedder, checkpoint, args.plugin, lambda what, done, total: show(done, total, what)
            )
        print(f'{folder}\n{update.text()}')
        labels = Labels(folder, Index.open(own / INDEX, args.plugin), names)
        for line in (*notes, *labels.notes()):
            print(f'note: {line}')
        what = f'{counted(len(labels.tracks), "track")}, {counted(labels.version, "answer")} so far'
        serve(args, what, str(labels.journal.path), lambda hosts, token: create_app(labels, hosts, token))
        for line in labels.summary.lines():
            print(line)
        if labels.summary.people:
            root = quote(str(folder))
            print(f'\nnext: vireid data check {root}\n      vireid train vireid::own_few.py --data-root {root}')
    return 0
