"""Reads variables from MATLAB 5 to 7 files, following MathWorks' "MAT-File Format".

SciPy's reader trusts the types and sizes that a file declares: a damaged file crashes the process or fills the memory.
This reader supports cell arrays and real matrices only, and never reads beyond the bytes that exist.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.mat_limits import Room

ORDERS = {b'IM': '<', b'MI': '>'}  # the last bytes of the file's header, by byte order
NUMBERS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
MATRIX, COMPRESSED = 14, 15  # types of data elements
CELL, NUMERIC, OPAQUE = 1, range(6, 16), 17  # classes of arrays
COMPLEX = 0x800
HEAD = 1_024  # bytes that always include a variable's name


class Header(NamedTuple):
    """The header of an array.

    Attributes:
        group: its MATLAB class.
        real: whether it has no imaginary part.
        shape: its dimensions.
        name: the variable's name; empty for a cell.
        end: the offset of its content.
    """

    group: int
    real: bool
    shape: tuple[int, ...]
    name: bytes
    end: int


def read_mat5(file: BinaryIO, variable: str, room: Room) -> Any:
    """Returns a variable, or None if there is none of that name.

    A real matrix becomes an array of the stored dtype, a cell array a list in MATLAB's order, and anything else a
    string.

    Args:
        file: the open file.
        variable: the name of the variable.
        room: limits what may be read.

    Raises:
        BeyondLimit: if it unpacks to more than `room` allows.
        Exception: of various types, such as `Malformed`, if it is damaged or not a MATLAB file.
    """
    order = ORDERS.get(file.read(128)[126:])
    if order is None:
        raise Malformed('it has no MATLAB 5 to 7.3 header')
    while tag := file.read(8):
        kind, size = struct.unpack(order + 'II', tag)
        content = head = file.read(min(size, room.size))
        if len(content) < size:
            raise Malformed('it ends too early')
        unpack = zlib.decompressobj()
        if kind == COMPRESSED:
            head = unpack.decompress(content, HEAD)
            kind, size = struct.unpack_from(order + 'II', head)
            head = head[8:]
        if kind != MATRIX:
            raise Malformed(f'it has an element of type {kind} where a variable belongs')
        if _header(memoryview(head), order).name != variable.encode():
            continue
        if head is not content:
            content = head + unpack.decompress(unpack.unconsumed_tail, room.bytes)
            if unpack.unconsumed_tail:
                raise BeyondLimit(f'it unpacks to more than {room.bytes:,} bytes')
            if not unpack.eof:  # reading to the end verifies the checksum
                raise Malformed('it ends too early')
        if len(content) != size:
            raise Malformed(f'{variable!r} declares {size:,} bytes but has {len(content):,}')
        return _array(memoryview(content), order, room, 0)
    return None


def _element(content: memoryview, at: int, order: str) -> tuple[int, memoryview, int]:
    """Returns the type of the data element at an offset, its data, and the offset of the next one."""
    kind, size = struct.unpack_from(order + 'II', content, at)
    start, end = at + 8, at + 8 + size + -size % 8
    if kind >> 16:  # a small element, with its data in the tag
        kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    if start + size > min(end, len(content)):
        raise Malformed('it ends too early')
    return kind, content[start : start + size], end


def _header(content: memoryview, order: str) -> Header:
    _, flags, at = _element(content, 0, order)
    word = struct.unpack_from(order + 'I', flags)[0]
    shape: tuple[int, ...] = ()
    if word & 0xFF != OPAQUE:  # opaque objects have no dimensions
        _, sizes, at = _element(content, at, order)
        shape = struct.unpack(f'{order}{len(sizes) // 4}i', sizes)
        if not 2 <= len(shape) <= 32 or min(shape) < 0:
            raise Malformed('it contains an array without a shape')
    _, name, at = _element(content, at, order)
    return Header(word & 0xFF, not word & COMPLEX, shape, bytes(name), at)


def _array(content: memoryview, order: str, room: Room, depth: int) -> Any:
    if not content:  # an empty cell
        return np.zeros((0, 0))
    header = _header(content, order)
    at = header.end
    if header.group == CELL:
        room.take_cells(header.shape, depth)
        cells = []
        for _ in range(math.prod(header.shape)):
            kind, data, at = _element(content, at, order)
            if kind != MATRIX:
                raise Malformed(f'a cell contains an element of type {kind}')
            cells.append(_array(data, order, room, depth + 1))
        return cells
    if header.group not in NUMERIC or not header.real:
        return 'something else' if all(header.shape) else np.zeros((0, 0))
    kind, data, _ = _element(content, at, order)
    if kind not in NUMBERS:
        raise Malformed(f'a matrix contains an element of type {kind}')
    dtype, count = np.dtype(order + NUMBERS[kind]), math.prod(header.shape)
    if len(data) != count * dtype.itemsize:
        raise Malformed(f'a matrix of {count:,} numbers has {len(data):,} bytes')
    room.take_numbers(count)
    return np.ndarray(header.shape, dtype, data, order='F').astype(dtype.newbyteorder('='), copy=False)
