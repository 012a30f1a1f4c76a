"""`vireid data split`: writes a table of images with a split for each identity."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.writing import write_whole
from vireid.console.wording import aligned, counted
from vireid.core.registry.components import Components
from vireid.core.types import MODALITIES, Sample
from vireid.errors import AlreadyExists, MissingFile, WrongValue
from vireid.interfaces import Dataset
from vireid.launch.recognition import has_table, holds_people
from vireid.statistics.interval import FEW, what_few_allow

COLUMNS = ('path', 'identity', 'camera', 'modality', 'split')
SPLITS = ('train', 'val', 'test', 'unmatched')
TABLE = 'manifest.csv'  # written unless another file is given
MAX_NAMES = 5


def split_images(
    images: Path, out: Path | None, components: Components, test: float, val: float, seed: int
) -> tuple[str, Path]:
    """Writes a table of your own images with a split for each identity.

    Args:
        images: a folder of people, or a table.
        out: the table to write; by default `manifest.csv` beside the images.
        components: the components, which include the readers of both.
        test: fraction of the identities for testing.
        val: fraction of the identities for validation.
        seed: random seed.

    Returns:
        A report, and what a config reads as `dataset.root`.

    Raises:
        VireidError: if there are no images, the table exists, or the split is not possible.
    """
    if not images.exists():
        raise MissingFile(f'{images} does not exist', allowed='a folder or a table of images')
    beside = images / TABLE
    out = out or (beside if images.is_dir() else images.parent / TABLE)
    require_free(out)
    folders = holds_people(images)
    if images.is_dir() and not folders and not has_table(images):
        raise MissingFile(
            f'{images} contains neither folders of people nor a table',
            allowed='visible/NAME/*.jpg and infrared/NAME/*.jpg, or manifest.csv with the columns path, identity, '
            'camera, modality',
        )
    config = {'type': 'Folders' if folders else 'Manifest', 'root': str(images)}
    dataset = components.build('datasets', config, where='dataset')
    splits = dataset.divide(test, val, seed)
    write_table(dataset, splits, out)
    what = 'folders' if folders else 'table'
    lines = [f'split {len(splits)} people of the {what} {images} into {out}\n', describe(dataset, splits)]
    lines += [f'Skipped: {line}' for line in (Dataset.passed_over(dataset) if folders else ())]
    if folders and beside.exists() and out != beside:
        lines.append(f'Not used: {beside}. To split that table, give its path.')
    if dropped := Dataset.other_columns(dataset):
        lines.append(f'Columns not copied to the new table: {", ".join(dropped)}.')
    return '\n'.join(lines), images if out == beside else out


def require_free(path: Path) -> None:
    """Requires that a CSV file does not exist yet.

    Raises:
        VireidError: if it exists, or its name is not that of a CSV file.
    """
    if path.suffix.lower() != '.csv':
        raise WrongValue(f'-o is {path}', allowed='a file name that ends in .csv')
    if path.exists() or path.is_symlink():
        raise AlreadyExists(
            f'{path} already exists and would be overwritten',
            todo=f'give another file, such as -o {path.with_name("split.csv")}, or remove this one',
        )


def write_table(dataset: Any, splits: Mapping[int, str], path: Path) -> None:
    """Writes a CSV file for the dataset `Manifest`, training first; paths are relative to its folder.

    Args:
        dataset: a reader of your own images, with `samples` and `names`.
        splits: the split of each identity.
        path: the file to write.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for sample in sorted(dataset.samples, key=lambda s: (SPLITS.index(splits[s.identity]), s.identity)):
        row = (dataset.names[sample.identity], sample.camera, sample.modality, splits[sample.identity])
        writer.writerow((_relative(sample.path, path), *row))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.getvalue())


def describe(dataset: Any, splits: Mapping[int, str]) -> str:
    """Returns a table of the splits, the unmatched identities, and how much the test set can show."""
    seen: dict[int, set[str]] = {}
    for sample in dataset.samples:
        seen.setdefault(sample.identity, set()).add(sample.modality)
    lines = [_counts(dataset.samples, splits), '']
    alone = sorted(identity for identity, modalities in seen.items() if len(modalities) < len(MODALITIES))
    if alone:
        some = ', '.join(f'{dataset.names[i]} ({next(iter(seen[i]))})' for i in alone[:MAX_NAMES])
        lines.append(
            f'{counted(len(alone), "identity", "identities")} with a single modality, which have no match, '
            f'{"is" if len(alone) == 1 else "are"} left out (unmatched): {some}'
            f'{", ..." if len(alone) > MAX_NAMES else ""}'
        )
    tested = sum(split == 'test' for split in splits.values())
    matched = len(seen) - len(alone)
    if tested < FEW:
        lines.append(f'{counted(tested, "test identity", "test identities")}: {what_few_allow(tested)}.')
        folds = min(5, matched // 2)
        lines.append(f'To test on all {matched}, train {folds} models, each without some of them: --folds {folds}')
    return '\n'.join(lines)


def _counts(samples: tuple[Sample, ...], splits: Mapping[int, str]) -> str:
    columns = sorted({(MODALITIES.index(s.modality), s.camera) for s in samples})
    lines = [('split', 'identities', *(f'{MODALITIES[m]} cam{camera}' for m, camera in columns))]
    for split in SPLITS:
        chosen = [s for s in samples if splits[s.identity] == split]
        if chosen:
            images = [sum((MODALITIES.index(s.modality), s.camera) == column for s in chosen) for column in columns]
            lines.append((split, f'{len({s.identity for s in chosen}):,}', *(f'{number:,}' for number in images)))
    return '\n'.join(aligned(lines, left=len(lines[0])))


def _relative(image: str, table: Path) -> str:
    """Returns an image's path relative to the folder of a table."""
    path = Path(image).absolute()
    try:
        return path.relative_to(table.parent.absolute()).as_posix()
    except ValueError:  # `..` starts from the folder that a link points to
        return Path(os.path.relpath(path, os.path.realpath(table.parent))).as_posix()
