"""What a dataset's images are, for all that prints or writes it: others in its layout never bear its name alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vireid.interfaces import Dataset

STAMP = 'synth.json'  # what `vireid data synth` leaves in the folders that it makes


def is_generated(root: str | Path | None) -> bool:
    """Says whether a folder, or the folder of a table, carries the stamp of synthetic people."""
    path = Path(root or '').expanduser()
    return bool(root) and any((p / STAMP).is_file() for p in (path, path.parent if path.is_file() else path))


def data_name(dataset: Mapping[str, Any], reader: Any = None) -> str:
    """Names the images that the config of a dataset reads: `SYSU-MM01`, or `synthetic people, SYSU-MM01 layout`.

    If the `reader` tests on another number of identities than a complete copy, `other people, SYSU-MM01 layout`.
    """
    name = str(dataset.get('type', '-'))
    if is_generated(dataset.get('root')):
        return f'synthetic people, {name} layout'
    number = Dataset.expected(reader).get('test', (None,))[0]
    same = number is None or number == len({sample.identity for sample in reader.split('test')})
    return name if same else f'other people, {name} layout'
