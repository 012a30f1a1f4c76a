"""Reads variables from MATLAB files (versions 5 to 7.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vireid.boundary.mat5 import read_mat5
from vireid.boundary.mat_hdf5 import read_hdf5
from vireid.boundary.mat_limits import Room
from vireid.boundary.reading import open_regular
from vireid.errors import MissingKey, WrongContent

HDF5 = b'\x89HDF\r\n\x1a\n'


def read_variable(path: Path, variable: str) -> Any:
    """Returns a variable of a MATLAB file, or None if there is none of that name.

    A real matrix becomes an array of the stored dtype, a cell array a list in MATLAB's order, and anything else a
    string. Opens no other file, whatever the file refers to.

    Raises:
        OSError: if it cannot be opened.
        VireidError: if it has cells that are not a row or column, or needs a package that is not installed.
        Exception: of various types, if it is damaged, not a MATLAB file, or declares more than it contains.
    """
    with open_regular(path) as file:
        head = file.read(520)
        file.seek(0)
        # MATLAB writes its own header before the HDF5 file, other programs may not
        hdf5 = head.startswith(b'MATLAB 7.3') or HDF5 in (head[:8], head[512:])
        return (read_hdf5 if hdf5 else read_mat5)(file, variable, Room(path, file))


def read_cell(path: Path, variable: str) -> list[Any]:
    """Returns the content of a cell array in MATLAB's order; nested cells become lists.

    Raises:
        VireidError: if there is no such row or column of cells.
        Exception: as in `read_variable`.
    """
    cells = read_variable(path, variable)
    if not isinstance(cells, list):
        raise (MissingKey if cells is None else WrongContent)(
            f'{path}: ' + (f'there is no {variable!r}' if cells is None else f'{variable!r} is not a cell array'),
            allowed=f'a cell array {variable!r}, 1 x N or N x 1',
        )
    return cells
