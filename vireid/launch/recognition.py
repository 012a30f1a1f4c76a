"""Recognizes datasets by what their folders contain."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vireid.core.registry.components import Components
from vireid.core.types import MODALITIES
from vireid.errors import MissingFile, UnsupportedFile, VireidError
from vireid.interfaces import Dataset
from vireid.launch.data_name import is_generated

MAX_NAMES = 5  # names in a message
FOLDERS = ('visible', 'infrared', 'train', 'test')  # any of these marks the layout of `Folders`
TABLES = ('manifest.csv', 'manifest.parquet')


def has_table(folder: Path) -> bool:
    """Returns whether a folder contains a table of images."""
    return any((folder / name).is_file() for name in TABLES)


def recognizable(components: Components) -> dict[str, Sequence[str]]:
    """Returns the paths that identify each dataset, without datasets that cannot be imported or recognized."""
    patterns: dict[str, Sequence[str]] = {}
    for name in components.names('datasets'):
        with suppress(VireidError):  # a broken plugin
            patterns[name] = Dataset.recognized_by(components.get('datasets', name))
    return {name: paths for name, paths in patterns.items() if paths}


def is_dataset(folder: Path, components: Components) -> bool:
    """Returns whether a folder certainly contains a dataset: a table of images, or everything that identifies one."""
    if not folder.is_dir():
        return False
    complete = [MODALITIES, *recognizable(components).values()]  # the first are your own images
    return (
        is_generated(folder)
        or has_table(folder)
        or any(all((folder / path).exists() for path in paths) for paths in complete)
    )


def holds_people(folder: Path) -> bool:
    """Returns whether a folder has the layout of `Folders`."""
    return folder.is_dir() and any((folder / name).is_dir() for name in FOLDERS)


def recognize(root: Path, components: Components) -> str:
    """Returns the dataset type of a folder or table by its layout; a part of a published dataset suffices.

    Raises:
        VireidError: if it does not exist, or has no known layout.
    """
    if not root.exists():
        raise MissingFile(f'{root} does not exist', allowed='the folder of a dataset, or a table of images')
    if root.suffix in ('.csv', '.parquet') or has_table(root):
        return 'Manifest'
    published = recognizable(components)
    for name, paths in published.items():
        if any((root / path).exists() for path in paths):
            return name
    if holds_people(root):
        return 'Folders'
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    holds = f', it contains {", ".join(names[:MAX_NAMES])}{", ..." if len(names) > MAX_NAMES else ""}' if names else ''
    raise UnsupportedFile(
        f'{root} does not have the layout of a dataset{holds}',
        allowed='visible/NAME/*.jpg and infrared/NAME/*.jpg, manifest.csv, or the folders of '
        f'{", ".join(published)} as their authors publish them',
        todo='rename or move folders, in lowercase; or name the dataset with --dataset, to read what is missing: '
        '`vireid components datasets` lists them',
    )
