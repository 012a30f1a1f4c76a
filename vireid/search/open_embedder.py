"""Opens what embeds images: a checkpoint, or a pretrained network without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vireid.console.progress_bar import progress_bar
from vireid.console.warn import warn_once
from vireid.errors import UnsupportedFile
from vireid.launch.fabric import make_fabric
from vireid.search.embedder import Embedder, load
from vireid.search.gallery import GalleryImage
from vireid.search.zero_shot import ZERO_SHOT, make_zero_shot

# the machines that a model was trained on are not those that embed
HERE = {
    'training.accelerator': 'auto', 'training.devices': 1, 'training.nodes': 1, 'training.strategy': 'auto',
    'training.precision': '32-true',
}  # fmt: skip


def open_embedder(
    checkpoint: str,
    zero_shot: Path,
    images: Sequence[GalleryImage],
    options: Sequence[str],
    plugins: Sequence[Path],
    warn: Callable[[str], None] = warn_once,
    anew: bool = False,
) -> Embedder:
    """Loads a checkpoint onto one device, or those of the options; `zero-shot` first writes one for these images.

    Args:
        checkpoint: a checkpoint, or `zero-shot`.
        zero_shot: the checkpoint to write for `zero-shot`; if it exists, it is used, unless `anew`.
        images: the images.
        options: overrides of the config.
        plugins: Python files with components.
        warn: called with a line for each warning.
        anew: write the checkpoint for `zero-shot` even if it exists.

    Raises:
        VireidError: if it cannot be loaded, or ranks by something other than cosine similarity.
    """
    path, given = Path(checkpoint), options
    if checkpoint == ZERO_SHOT:
        path = zero_shot
        if anew or not path.exists():
            with progress_bar('preparing the zero-shot model') as show:
                for line in make_zero_shot(path, images, options, show):
                    warn(line)
    embedder = load(path, plugins, options)  # an existing zero-shot network may have been written with others
    similarity: Any = embedder.experiment.evaluation.similarity
    if similarity is not None:
        raise UnsupportedFile(
            f'{path} ranks by {similarity["type"]}, which compares pairs; its embeddings alone do not',
            allowed='checkpoints that rank by cosine similarity',
        )
    chosen = {name: value for name, value in HERE.items() if not any(o.startswith(f'{name}=') for o in given)}
    return embedder.to(make_fabric(embedder.experiment.with_overrides(chosen).training).device)
