"""Limits on what is read from a MATLAB file."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vireid.boundary.malformed import BeyondLimit
from vireid.boundary.reading import ARRAYS, DEPTH
from vireid.errors import WrongContent

PARTS = 200_000  # cells, counting shared ones at every reference, and HDF5 chunks; `export` writes half as many


class Room:
    """The remaining allowance of a file: a few bytes can declare a terabyte, or deeply nested references to one cell.

    Numbers count as float64, the type in which features are compared, whatever their stored type.

    Attributes:
        path: the file.
        size: its size in bytes.
        bytes: remaining bytes for numbers.
        parts: remaining cells and chunks.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.size = path, os.fstat(file.fileno()).st_size
        self.bytes, self.parts = ARRAYS + 4 * self.size, PARTS

    def take_cells(self, shape: Sequence[int], depth: int) -> None:
        """Reserves room for a cell array; `depth` is the number of cell arrays around it.

        Raises:
            WrongContent: if it is not a row or column.
            BeyondLimit: if there are too many cells, or they are nested too deeply.
        """
        if len(shape) > 2 or (len(shape) == 2 and min(shape) > 1):
            raise WrongContent(
                f'{self.path}: a cell array is {" x ".join(map(str, shape))}',
                allowed='1 x N or N x 1, one cell per identity',
            )
        if depth >= DEPTH:
            raise BeyondLimit(f'cells are nested more than {DEPTH} levels deep')
        self.take_parts(math.prod(shape))

    def take_parts(self, count: int) -> None:
        """Reserves room for cells or chunks.

        Raises:
            BeyondLimit: if they are too many for the file.
        """
        self.parts -= count
        if self.parts < 0:
            raise BeyondLimit(f'it declares far more parts than a file of {self.size:,} bytes can contain')

    def take_numbers(self, count: int) -> None:
        """Reserves room for a matrix.

        Raises:
            BeyondLimit: if it is too large for the file.
        """
        self.bytes -= 8 * count
        if self.bytes < 0:
            raise BeyondLimit(f'it declares far more numbers than a file of {self.size:,} bytes can contain')
