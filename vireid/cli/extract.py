"""Embed images with a trained model, or with a pretrained network that needs no training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.cli.output import progress_bar, quiet_others
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.search.embedder import Embedder
    from vireid.search.gallery import Found

HERE = {
    'training.accelerator': 'auto', 'training.devices': 1, 'training.nodes': 1, 'training.strategy': 'auto',
    'training.precision': '32-true',
}  # fmt: skip


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
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that embed images."""
    from vireid.core.types import MODALITIES

    parser.add_argument(
        '--modality', choices=MODALITIES, help='modality of all images (default: that of the table or of a folder with '
        'this name; otherwise visible if the image has colors)',
    )  # fmt: skip
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='K=V',
        help='overrides of the config of the checkpoint, such as images.scale_raw=percentiles',
    )  # fmt: skip
    parser.add_argument(
        '--plugin', type=Path, action='append', default=[], metavar='FILE', help='a Python file with your components'
    )


def run(args: argparse.Namespace) -> int:
    """Writes the file and prints what it contains."""
    from vireid.search.features_file import write_features, writer
    from vireid.search.gallery import find_gallery

    writer(args.out)  # raises before the images are embedded, not after
    from vireid.core.distributed.processes import world
    from vireid.exchange.features import require_writable

    require_writable(args.out)
    _, found = find_gallery(args.images, args.modality)
    embedder = make_embedder(
        args.checkpoint, args.out.with_name(f'{args.out.stem}_zero_shot.pt'), found, args.cfg_options, args.plugin
    )
    quiet_others()
    modalities, guessed = settle_modalities(embedder, found)
    with progress_bar('embedding images') as show:
        features = embedder.embed_files([image.path for image in found], modalities, show)
    columns = {
        'path': [image.path for image in found],
        'modality': modalities,
        'camera': [image.camera for image in found],
        'time': [image.time for image in found],
    }
    about = {'checkpoint': str(embedder.source), 'experiment': embedder.experiment.name, 'digest': embedder.digest()}
    if world()[0] == 0:
        write_features(args.out, features, columns, about)
    counts = ', '.join(f'{modalities.count(m):,} {m}' for m in dict.fromkeys(modalities))
    note = f'; {guessed:,} guessed from the colors of the image (--modality sets it)' if guessed else ''
    print(f'{args.out}: {len(features):,} embeddings of length {features.shape[1]:,}, norm 1 ({counts}{note})')
    return 0


def make_embedder(
    checkpoint: str, zero_shot: Path, found: Sequence[Found], options: Sequence[str], plugins: Sequence[Path]
) -> Embedder:
    """Loads a checkpoint onto one device, or those of the options; `zero-shot` first writes one for these images.

    Args:
        checkpoint: a checkpoint, or `zero-shot`.
        zero_shot: the checkpoint to write for `zero-shot`; if it exists, it is used.
        found: the images.
        options: overrides of the config.
        plugins: Python files with components.

    Raises:
        VireidError: if it cannot be loaded, or ranks by something else than cosine similarity.
    """
    from vireid.core.warn import warn_once
    from vireid.launch.fabric import make_fabric
    from vireid.search.embedder import load
    from vireid.search.zero_shot import ZERO_SHOT, make_zero_shot

    path, given = Path(checkpoint), options
    if checkpoint == ZERO_SHOT:
        path = zero_shot
        if not path.exists():
            with progress_bar('looking at images') as show:
                for line in make_zero_shot(path, found, options, show):
                    warn_once(f'warning: {line}')
        options = ()  # the checkpoint has them
    embedder = load(path, plugins, options)
    similarity: Any = embedder.experiment.evaluation.similarity
    if similarity is not None:
        raise VireidError(
            f'{path} ranks by {similarity["type"]}, which compares pairs; its embeddings alone do not',
            allowed='checkpoints that rank by cosine similarity',
        )
    # the machines that it was trained on are not those that embed
    chosen = {name: value for name, value in HERE.items() if not any(o.startswith(f'{name}=') for o in given)}
    return embedder.to(make_fabric(embedder.experiment.with_overrides(chosen).training).device)


def settle_modalities(embedder: Embedder, found: Sequence[Found]) -> tuple[list[str], int]:
    """Returns the modality of each image, and how many were guessed."""
    from vireid.search.modality import guess_modality

    modalities = [image.modality or guess_modality(embedder.pixels(image.path)) for image in found]
    return modalities, sum(not image.modality for image in found)
