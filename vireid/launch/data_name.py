"""The name of the data in output: other images in the layout of a dataset never get the plain name of the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vireid.interfaces import Dataset

STAMP = 'synth.json'  # marks folders created by `vireid data synth`


def is_generated(root: str | Path | None) -> bool:
    """Returns whether a data folder, or the folder of a table, contains synthetic people."""
    path = Path(root or '').expanduser()
    return bool(root) and any((p / STAMP).is_file() for p in (path, path.parent if path.is_file() else path))


def data_name(dataset: Mapping[str, Any], reader: Any = None) -> str:
    """Returns the name of a dataset's images: `SYSU-MM01`, or `synthetic people, SYSU-MM01 layout`.

    It is `other people, SYSU-MM01 layout` if the test split has another number of identities than a complete copy.

    Args:
        dataset: config of the dataset.
        reader: the dataset, if it was built.
    """
    name = str(dataset.get('type', '-'))
    if is_generated(dataset.get('root')):
        return f'synthetic people, {name} layout'
    number = Dataset.expected(reader).get('test', (None,))[0]
    same = number is None or number == len({sample.identity for sample in reader.split('test')})
    return name if same else f'other people, {name} layout'
