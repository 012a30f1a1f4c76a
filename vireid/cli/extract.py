"""Embed images with a trained model, or with a pretrained network that needs no training."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_embedding_arguments
from vireid.console.progress_bar import progress_bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid extract`."""
    parser.add_argument('checkpoint', help='a checkpoint (.pt), or zero-shot for a pretrained network without training')
    parser.add_argument(
        'images', type=Path, nargs='+', help='images, a folder with images at any depth, or a table (CSV) with the '
        'column path, and optionally modality, camera and time',
    )  # fmt: skip
    parser.add_argument(
        '-o', '--out', type=Path, required=True, metavar='FILE', help='file to write: .npz, .parquet or .safetensors'
    )
    add_embedding_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Writes the file and prints what it contains."""
    from vireid.exchange.features import require_writable
    from vireid.launch.rank_output import quiet_others
    from vireid.search.extraction import extract
    from vireid.search.features_file import writer
    from vireid.search.gallery import find_gallery
    from vireid.search.open_embedder import open_embedder

    writer(args.out)  # raises before the images are embedded, not after
    require_writable(args.out)
    _, images = find_gallery(args.images, args.modality)
    zero_shot = args.out.with_name(f'{args.out.stem}_zero_shot.pt')
    embedder = open_embedder(args.checkpoint, zero_shot, images, args.cfg_options, args.plugin, anew=True)
    quiet_others()
    with progress_bar('embedding images') as show:
        line = extract(args.out, images, embedder, show)
    print(line)
