"""Writes embeddings with what is known about their images: NumPy, Parquet or safetensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vireid.boundary.showing import error_text
from vireid.boundary.writing import open_whole
from vireid.errors import MissingPackage, WriteFailed, WrongValue

Columns = Mapping[str, Sequence[str]]


def write_features(path: Path, features: np.ndarray, columns: Columns, about: Mapping[str, Any]) -> None:
    """Writes a file in the format of its suffix.

    - `.npz`: `features` (N, D) float32, an array of N strings for each column, and `about` as JSON.
    - `.parquet`: a column of strings for each column, `embedding` with lists of D float32, and `about` in the metadata.
    - `.safetensors`: the tensor `features`; columns and `about` as JSON in the metadata.

    Args:
        path: the file.
        features: (N, D) float32 embeddings.
        columns: N texts by column, such as `path` and `modality`.
        about: metadata.

    Raises:
        VireidError: if the suffix is unknown, a package is missing, or the file cannot be written.
    """
    write = writer(path)
    texts = {name: [_unicode(value) for value in values] for name, values in columns.items()}
    try:
        with open_whole(path, sync=True) as file:
            write(file, features, texts, json.dumps(about))
    except OSError as error:
        raise WriteFailed(
            f'{path} cannot be written: {error_text(error)}', todo='free some space or choose another file'
        ) from error


def writer(path: Path) -> Callable[[BinaryIO, np.ndarray, Columns, str], None]:
    """Returns the function that writes the format of a file.

    Raises:
        VireidError: if the suffix is unknown, or a package is missing.
    """
    formats = {'.npz': _npz, '.parquet': _parquet, '.safetensors': _safetensors}
    suffix = path.suffix.lower()
    if suffix not in formats:
        raise WrongValue(f'{path} has the suffix {path.suffix!r}', allowed=', '.join(formats))
    packages = {'.parquet': ('pyarrow', 'parquet'), '.safetensors': ('safetensors', 'export')}
    module, extra = packages.get(suffix, ('numpy', ''))
    try:
        __import__(module)
    except ImportError as error:
        raise MissingPackage(f'{path}: {module} is not installed', todo=f'pip install "vireid[{extra}]"') from error
    return formats[suffix]


def _npz(file: BinaryIO, features: np.ndarray, columns: Columns, about: str) -> None:
    texts = {name: np.array(values) for name, values in columns.items()}
    np.savez(file, features=features, about=np.array(about), **texts)  # type: ignore[arg-type]


def _parquet(file: BinaryIO, features: np.ndarray, columns: Columns, about: str) -> None:
    import pyarrow
    from pyarrow import parquet

    flat = pyarrow.array(features.reshape(-1))
    lists = pyarrow.FixedSizeListArray.from_arrays(flat, features.shape[1])
    table = pyarrow.table({**{name: list(values) for name, values in columns.items()}, 'embedding': lists})
    parquet.write_table(table.replace_schema_metadata({'about': about}), file)


def _safetensors(file: BinaryIO, features: np.ndarray, columns: Columns, about: str) -> None:
    from safetensors.numpy import save

    metadata = {name: json.dumps(list(values)) for name, values in columns.items()}
    file.write(save({'features': np.ascontiguousarray(features)}, metadata={**metadata, 'about': about}))


def _unicode(text: str) -> str:
    """Returns text that every format can hold: bytes of file names that are not UTF-8 appear as `\\xd5`."""
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
