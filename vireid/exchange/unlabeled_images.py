"""Images of which only the modality is known, in two folders or in a table."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from vireid.boundary.image_files import SUFFIXES
from vireid.boundary.names import find_listed
from vireid.boundary.reading import reads
from vireid.boundary.tables import read_csv
from vireid.core.types import MODALITIES, Modality, Sample
from vireid.errors import (
    Conflict,
    DamagedFile,
    MissingFile,
    MissingKey,
    TooFew,
    UnknownName,
    WrongContent,
    did_you_mean,
)

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
            raise Conflict(f'split is {split!r}, but {images} is a folder', allowed='a split of a table')
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
    """Returns the images at any depth below a folder; follows links and skips hidden files and folders."""

    def fail(error: OSError) -> None:
        raise error

    paths: list[str] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=fail if folder.is_dir() else None):
        if os.path.realpath(place) in seen:  # a link to a parent folder
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        images = sorted(name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith('.'))
        paths += [os.path.join(place, name) for name in images]
    return paths


def _no_images(images: Path) -> TooFew:
    todo = None
    if images.is_dir():
        table = next(iter(sorted(images.glob('*.csv'))), None)
        below = next((p for p in sorted(images.iterdir()) if any((p / m).is_dir() for m in MODALITIES)), None)
        if table or below:
            todo = f'give the {"table" if table else "folder"} itself: {table or below}'
    return TooFew(f'{images} has no images', allowed=f'{FOLDER}; or {TABLE}', todo=todo)


@reads('a table of images', '*.csv')
def _listed(path: Path, split: str | None = None) -> dict[Modality, list[str]]:
    """Returns the images that a table lists, by modality."""
    try:
        columns, rows = read_csv(path)
    except (OSError, ValueError, csv.Error) as error:
        raise DamagedFile(f'table {path} cannot be read: {error}', allowed=f'{TABLE}; or {FOLDER}') from error
    for column in ('path', 'modality', *(['split'] if split is not None else [])):
        if column not in columns:
            raise MissingKey(
                f'table {path} has no column {column!r} (it has: {", ".join(columns)[:200] or "nothing"})'
                f'{did_you_mean(column, columns)}',
                allowed=f'{TABLE}; or {FOLDER}',
            )
    splits = list(dict.fromkeys((row['split'] or '').strip() for _, row in rows)) if split is not None else []
    if split is not None and split not in splits:
        raise UnknownName(
            f'table {path} has no split {split!r}{did_you_mean(split, splits)}', allowed=', '.join(filter(None, splits))
        )
    images: dict[Modality, list[str]] = {m: [] for m in MODALITIES}
    lines: dict[str, int] = {}
    for line, row in rows:
        if split is not None and (row['split'] or '').strip() != split:
            continue
        listed, modality = row['path'] or '', (row['modality'] or '').strip().lower()
        if not listed.strip() or modality not in MODALITIES:
            problem = f'modality is {row["modality"]!r}' if listed.strip() else 'path is empty'
            raise WrongContent(
                f'table {path}, line {line}: {problem}', allowed=f'a path, and {" or ".join(MODALITIES)}'
            )
        image = find_listed(path.parent, listed)
        place = os.path.abspath(image)  # `a.jpg` and `x/../a.jpg`
        if place in lines:
            raise WrongContent(f'table {path}, line {line}: {listed} is also in line {lines[place]}')
        lines[place] = line
        images[modality].append(image)
    return images
