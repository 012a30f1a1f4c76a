"""Recognizes datasets by what their folders contain."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vireid.core.errors import VireidError
from vireid.core.registry.components import Components
from vireid.core.types import MODALITIES
from vireid.interfaces import Dataset
from vireid.launch.data_name import is_generated

TABLES = ('manifest.csv', 'manifest.parquet')


def has_table(folder: Path) -> bool:
    """Returns whether a folder contains a table of images."""
    return any((folder / name).is_file() for name in TABLES)


def recognizable(components: Components) -> dict[str, Sequence[str]]:
    """Returns the paths that identify each dataset, without datasets that cannot be imported or recognized."""
    found: dict[str, Sequence[str]] = {}
    for name in components.names('datasets'):
        with suppress(VireidError):  # a broken plugin
            found[name] = Dataset.recognized_by(components.get('datasets', name))
    return {name: paths for name, paths in found.items() if paths}


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
