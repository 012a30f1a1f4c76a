"""Embed the images of a gallery into an index for `vireid search`; run it again to add new and changed images."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote

from vireid.cli.arguments import add_embedding_arguments
from vireid.console.progress_bar import named_progress_bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid index`."""
    parser.add_argument(
        'gallery', type=Path, help='a folder with images at any depth, or a table (CSV) with the column path, and '
        'optionally modality, camera and time',
    )  # fmt: skip
    parser.add_argument('-o', '--out', type=Path, required=True, metavar='INDEX', help='folder of the index')
    parser.add_argument(
        '--checkpoint', metavar='FILE', help='a checkpoint (.pt), or zero-shot for a pretrained network without '
        'training (default: that of the existing index)',
    )  # fmt: skip
    parser.add_argument('--camera', metavar='NAME', help='camera of all images (default: the table, or a folder cam4)')
    parser.add_argument(
        '--time-pattern', metavar='PATTERN', help='pattern of the time in file names, with codes of strptime and * for '
        'any text, such as cam4_%%Y%%m%%d-%%H%%M%%S_* (default: a date and time in the name, EXIF data, or the time of '
        'the file)',
    )  # fmt: skip
    parser.add_argument(
        '--type', metavar='TYPE', help='how to search: Exact (default), FaissIVF, FaissHNSW, Qdrant or another; '
        'its arguments are overrides such as --cfg-options index.probes=32',
    )  # fmt: skip
    parser.add_argument('--trust-config', action='store_true', help='contact the server that an existing index names')
    add_embedding_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Builds or updates the index, and prints what it contains and how to search it."""
    from vireid.search.building import build
    from vireid.search.gallery import find_gallery
    from vireid.search.index import ZERO_SHOT
    from vireid.search.index_settings import settle
    from vireid.search.open_embedder import open_embedder

    root, images = find_gallery(args.gallery, args.modality, args.camera)
    settings = settle(args.out, args.checkpoint, args.type, args.cfg_options, args.trust_config)
    embedder = open_embedder(settings.checkpoint, args.out / ZERO_SHOT, images, settings.options, args.plugin)
    with named_progress_bar('reading') as show:
        more = {**settings.arguments(), 'time_pattern': args.time_pattern, 'plugins': args.plugin}
        update = build(args.out, root, images, embedder, on_progress=show, **more)
    print(f'{args.out}\n{update.text()}')
    print(f'\nTo search it: vireid search {quote(str(args.out))} IMAGE')
