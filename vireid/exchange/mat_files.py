"""Cell arrays of MATLAB files, of MATLAB 4 to 7.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.reading import open_regular, reads
from vireid.core.errors import VireidError

HDF5 = b'\x89HDF\r\n\x1a\n'


@reads('a MATLAB file', '*.mat')
def read_cell(path: Path, variable: str) -> list[Any]:
    """Returns what a cell array of a MATLAB file holds, in MATLAB's order; of cells within it, lists.

    Raises:
        VireidError: if the file is damaged or something else, has no such row or column of cells, or needs a package
            that is not installed.
    """
    try:
        found = _read_hdf5(path, variable) if _is_hdf5(path) else _read_mat(path, variable)
    except VireidError:
        raise
    except Exception as error:  # SciPy and h5py raise many kinds for a file that is none
        raise VireidError(
            f'{path} is no MATLAB file or is damaged: {str(error) or type(error).__name__}',
            allowed=f'a .mat file with a cell array {variable!r}',
            todo='copy or write it again',
        ) from error
    if not isinstance(found, list):
        raise VireidError(
            f'{path}: ' + (f'there is no {variable!r}' if found is None else f'{variable!r} is not a cell array'),
            allowed=f'a cell array {variable!r}, 1 x N or N x 1',
        )
    return found


def _read_mat(path: Path, variable: str) -> Any:
    """Reads a variable of MATLAB 4 to 7; None if there is none."""
    from scipy.io import loadmat

    def plain(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype != object:
            return value
        _require_line(path, value.shape)
        return [plain(cell) for cell in value.ravel()]

    with open_regular(path) as file:
        return plain(loadmat(file, variable_names=[variable]).get(variable))


def _read_hdf5(path: Path, variable: str) -> Any:
    """Reads a variable of MATLAB 7.3, which is HDF5; None if there is none.

    Arrays lie transposed there, a cell holds a reference, and of an empty array there are the sizes alone.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise VireidError(
            f'{path} is a file of MATLAB 7.3, and the package h5py is not installed',
            todo="pip install 'vireid[matlab]', or write it in MATLAB by save(..., '-v7')",
        ) from error

    def plain(item: Any) -> Any:
        if not isinstance(item, h5py.Dataset):  # a struct, a sparse matrix
            return item.name
        kind = item.attrs.get('MATLAB_class')
        if item.attrs.get('MATLAB_empty', 0):
            return [] if kind in (b'cell', 'cell') else np.zeros((0, 0))
        if h5py.check_ref_dtype(item.dtype) is h5py.Reference:
            _require_line(path, item.shape)
            return [plain(file[reference]) for reference in item[()].ravel()]
        return item.name if kind in (b'char', 'char') else np.asarray(item[()]).T

    with h5py.File(path, 'r') as file:
        return plain(file[variable]) if variable in file else None


def _is_hdf5(path: Path) -> bool:
    with open_regular(path) as file:
        head = file.read(520)
    # MATLAB writes a header of its own before the HDF5 file, other programs may not
    return head.startswith(b'MATLAB 7.3') or HDF5 in (head[:8], head[512:])


def _require_line(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) > 2 or (len(shape) == 2 and min(shape) > 1):
        raise VireidError(
            f'{path}: a cell array is {" x ".join(map(str, shape))}', allowed='1 x N or N x 1, a cell for each identity'
        )
