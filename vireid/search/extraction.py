"""Embeds images into a file, without an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vireid.core.types import Modality
from vireid.errors import DamagedFile, VireidError
from vireid.runtime.processes import world
from vireid.search.building import RAW
from vireid.search.embedder import Embedder
from vireid.search.features_file import write_features
from vireid.search.gallery import GalleryImage, left_out
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
        A line about what was written, and those about images that cannot be read.

    Raises:
        VireidError: if no image can be read, or the file cannot be written.
    """
    known, unreadable = list[tuple[GalleryImage, Modality]](), list[str]()
    for image in images:
        try:
            known.append((image, image.modality or guess_modality(embedder.pixels(image.path))))
        except VireidError as error:
            unreadable.append(error.given)
    paths, of_known = [image.path for image, _ in known], [modality for _, modality in known]
    readable, features, errors = embedder.embed_readable(paths, of_known, on_progress) if known else ([], None, [])
    unreadable += errors
    if features is None or not readable:
        raise DamagedFile(f'none of the images can be read, for example: {unreadable[0]}', todo=RAW)
    kept = [known[place] for place in readable]
    modalities = [modality for _, modality in kept]
    columns = {
        'path': [image.path for image, _ in kept],
        'modality': modalities,
        'camera': [image.camera for image, _ in kept],
        'time': [image.time or _taken(image.path) for image, _ in kept],
    }
    about = {'checkpoint': str(embedder.source), 'experiment': embedder.experiment.name, 'digest': embedder.digest()}
    if world()[0] == 0:
        write_features(out, features, columns, about)
    guessed = sum(not image.modality for image, _ in kept)
    counts = ', '.join(f'{modalities.count(m):,} {m}' for m in dict.fromkeys(modalities))
    note = f'; {guessed:,} guessed from the colors of the image (--modality sets it)' if guessed else ''
    line = f'{out}: {len(features):,} embeddings of length {features.shape[1]:,}, norm 1 ({counts}{note})'
    return f'{line}\nwarning: {left_out(unreadable, str(out))}' if unreadable else line


def _taken(path: str) -> str:
    """Returns the time in the name or the EXIF data of an image; '' for that of the file, which is a guess."""
    time, source = find_time(path)
    return '' if source == 'file time' else time.isoformat(' ')
