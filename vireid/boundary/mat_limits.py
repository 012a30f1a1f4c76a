"""How much of a MATLAB file is read."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vireid.boundary.reading import ARRAYS, DEPTH
from vireid.core.errors import VireidError

PARTS = 200_000  # cells, shared ones counted wherever they stand, and HDF5's chunks; `export` writes half as many


class Room:
    """What may still be read of a file: a few bytes can announce a terabyte, or cells of cells of one cell.

    Numbers count as float64, in which features are compared, however they are stored.

    Attributes:
        path: of the file.
        size: of the file, in bytes.
        bytes: that are left, of its numbers.
        parts: cells and chunks that are left.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.size = path, os.fstat(file.fileno()).st_size
        self.bytes, self.parts = ARRAYS + 4 * self.size, PARTS

    def take_cells(self, shape: Sequence[int], depth: int) -> None:
        """Makes room for a cell array; `depth` is the number of those that it is within.

        Raises:
            VireidError: if it is no row or column.
            ValueError: if there are too many cells, or too deep ones.
        """
        if len(shape) > 2 or (len(shape) == 2 and min(shape) > 1):
            raise VireidError(
                f'{self.path}: a cell array is {" x ".join(map(str, shape))}',
                allowed='1 x N or N x 1, a cell for each identity',
            )
        if depth >= DEPTH:
            raise ValueError(f'cells are nested more than {DEPTH} levels deep')
        self.take_parts(math.prod(shape))

    def take_parts(self, count: int) -> None:
        """Makes room for cells or chunks.

        Raises:
            ValueError: if they are too many for the file.
        """
        self.parts -= count
        if self.parts < 0:
            raise ValueError(f'it announces far more parts than a file of {self.size:,} bytes can hold')

    def take_numbers(self, count: int) -> None:
        """Makes room for a matrix.

        Raises:
            ValueError: if it is too large for the file.
        """
        self.bytes -= 8 * count
        if self.bytes < 0:
            raise ValueError(f'it announces far more numbers than a file of {self.size:,} bytes can hold')
