"""Embeds images into a file, without an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vireid.runtime.processes import world
from vireid.search.embedder import Embedder
from vireid.search.features_file import write_features
from vireid.search.gallery import GalleryImage
from vireid.search.modality import guess_modality
from vireid.search.times import find_time


def extract(
    out: Path, images: Sequence[GalleryImage], embedder: Embedder, on_progress: Callable[[int, int], None]
) -> str:
    """Embeds images and writes the embeddings, with the modality, the camera and the time of each.

    Args:
        out: the file to write; its suffix selects the format.
        images: the images.
        embedder: the model.
        on_progress: called with (done, total) images.

    Returns:
        A line about what was written.

    Raises:
        VireidError: if an image cannot be read, or the file cannot be written.
    """
    modalities = [image.modality or guess_modality(embedder.pixels(image.path)) for image in images]
    features = embedder.embed_files([image.path for image in images], modalities, on_progress)
    columns = {
        'path': [image.path for image in images],
        'modality': modalities,
        'camera': [image.camera for image in images],
        'time': [image.time or _taken(image.path) for image in images],
    }
    about = {'checkpoint': str(embedder.source), 'experiment': embedder.experiment.name, 'digest': embedder.digest()}
    if world()[0] == 0:
        write_features(out, features, columns, about)
    guessed = sum(not image.modality for image in images)
    counts = ', '.join(f'{modalities.count(m):,} {m}' for m in dict.fromkeys(modalities))
    note = f'; {guessed:,} guessed from the colors of the image (--modality sets it)' if guessed else ''
    return f'{out}: {len(features):,} embeddings of length {features.shape[1]:,}, norm 1 ({counts}{note})'


def _taken(path: str) -> str:
    """Returns the time in the name or the EXIF data of an image; '' for that of the file, which is a guess."""
    time, source = find_time(path)
    return '' if source == 'file time' else time.isoformat(' ')
