"""Images of which only the modality is known, in two folders or in a table."""

from __future__ import annotations

import os
from pathlib import Path

from vireid.boundary.image_sources import listed_images, skipped_text, walk_images
from vireid.boundary.reading import reads
from vireid.console.warn import warn_once
from vireid.core.types import MODALITIES, Modality, Sample
from vireid.errors import Conflict, MissingFile, TooFew, UnknownName, did_you_mean

FOLDER = 'a folder with visible/ and infrared/, which hold images or folders of images'
TABLE = 'a CSV file with the columns path and modality'
MIN_IMAGES = 2  # images of each modality: the variance of a single one is undefined


def find_images(images: Path, split: str | None = None) -> list[Sample]:
    """Returns the images of a folder or a table, visible ones first, with placeholder identity 0 and camera 1.

    Raises:
        VireidError: if `images` is neither, the table is malformed, or a modality has fewer than 2 images.
    """
    if not images.exists():
        raise MissingFile(f'{images} does not exist', allowed=f'{FOLDER}; or {TABLE}')
    if images.is_dir():
        if split is not None:
            raise Conflict(
                f'split is {split!r}, but {images} is a folder', allowed='a split of a table', todo='leave it out'
            )
        paths = {m: _images_below(images / m) for m in MODALITIES}
    else:
        paths = _listed(images, split)
    if not any(paths.values()):
        raise _no_images(images)
    for modality, own in paths.items():
        if len(own) < MIN_IMAGES:
            amount = f'{len(own)} {modality} image' if own else f'no {modality} images'
            other = next(m for m in MODALITIES if m != modality)
            raise TooFew(
                f'{images} has {amount} and {len(paths[other]):,} {other}',
                allowed=f'at least {MIN_IMAGES} images of each modality',
            )
    return [Sample(path, 0, 1, modality) for modality, own in paths.items() for path in own]


def _images_below(folder: Path) -> list[str]:
    """Returns the images at any depth below a folder; none if it does not exist."""
    others: list[str] = []
    found = walk_images(folder, others) if folder.is_dir() else ()
    images = [os.path.join(place, name) for place, _, names in found for name in names]
    if others:
        warn_once(skipped_text(others))
    return images


def _no_images(images: Path) -> TooFew:
    todo, where = None, ''
    if images.is_dir():
        where = f' in {" or ".join(f"{modality}/" for modality in MODALITIES)}'
        table = next(iter(sorted(images.glob('*.csv'))), None)
        below = next((p for p in sorted(images.iterdir()) if any((p / m).is_dir() for m in MODALITIES)), None)
        if table or below:
            todo = f'give the {"table" if table else "folder"} itself: {table or below}'
    return TooFew(f'{images} has no images{where}', allowed=f'{FOLDER}; or {TABLE}', todo=todo)


@reads('a table of images', '*.csv', allowed=f'{TABLE}; or {FOLDER}')
def _listed(path: Path, split: str | None = None) -> dict[Modality, list[str]]:
    """Returns the images that a table lists, by modality."""
    splits: dict[str, None] = {}  # in the order of the table

    def chosen(cells: dict[str, str]) -> bool:
        splits[cells.get('split', '')] = None
        return split is None or cells['split'] == split

    images: dict[Modality, list[str]] = {m: [] for m in MODALITIES}
    required = ['path', 'modality', *(['split'] if split is not None else [])]
    for image, cells, _ in listed_images(path, required, MODALITIES, f'{TABLE}; or {FOLDER}', chosen):
        images[cells['modality']].append(image)
    if split is not None and split not in splits:
        allowed = ', '.join(filter(None, splits))
        raise UnknownName(f'{path} has no split {split!r}{did_you_mean(split, splits)}', allowed=allowed)
    return images
