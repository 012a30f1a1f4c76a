"""Variables of MATLAB files, of MATLAB 5 to 7.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vireid.boundary.mat5 import read_mat5
from vireid.boundary.mat_hdf5 import read_hdf5
from vireid.boundary.mat_limits import Room
from vireid.boundary.reading import open_regular
from vireid.core.errors import VireidError

HDF5 = b'\x89HDF\r\n\x1a\n'


def read_variable(path: Path, variable: str) -> Any:
    """Returns a variable of a MATLAB file; None if there is none.

    A real matrix is an array of the type in which it is stored, a cell array a list in MATLAB's order, and anything
    else a text. No other file is opened, whatever the file refers to.

    Raises:
        OSError: if it cannot be opened.
        VireidError: if it has cells that are no row or column, or needs a package that is not installed.
        Exception: of many kinds, if it is damaged, something else, or announces more than it has.
    """
    with open_regular(path) as file:
        head = file.read(520)
        file.seek(0)
        # MATLAB writes a header of its own before the HDF5 file, other programs may not
        hdf5 = head.startswith(b'MATLAB 7.3') or HDF5 in (head[:8], head[512:])
        return (read_hdf5 if hdf5 else read_mat5)(file, variable, Room(path, file))


def read_cell(path: Path, variable: str) -> list[Any]:
    """Returns what a cell array of a MATLAB file holds, in MATLAB's order; of cells within it, lists.

    Raises as `read_variable` does, and:
        VireidError: if there is no such row or column of cells.
    """
    found = read_variable(path, variable)
    if not isinstance(found, list):
        raise VireidError(
            f'{path}: ' + (f'there is no {variable!r}' if found is None else f'{variable!r} is not a cell array'),
            allowed=f'a cell array {variable!r}, 1 x N or N x 1',
        )
    return found
