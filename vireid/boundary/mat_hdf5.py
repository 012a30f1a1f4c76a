"""Reads variables from MATLAB 7.3 files, which are HDF5.

HDF5 can take data from any other file, so anything that MATLAB does not write raises an error before it is opened.
Datasets are opened with h5py's low-level API: a file has thousands, and `file[reference]` takes three times as long.
"""

from __future__ import annotations

import math
import zlib
from typing import Any, BinaryIO

import numpy as np

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.mat_limits import Room
from vireid.errors import MissingPackage

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3  # MATLAB uses the first; hdf5storage, a Python package, all of them
CHUNKS = 10_000  # of a dataset: the library allocates 4 KB for each declared chunk
PARTS = 10_000  # plus one for every 8 bytes of the file: a reference takes 8 bytes, and a chunk takes more


def read_hdf5(file: BinaryIO, variable: str, room: Room) -> Any:
    """Returns a variable as `read_mat5` does, or None if there is none of that name.

    The file stores arrays transposed, cells as references, and of an empty array only its dimensions.

    Args:
        file: the open file.
        variable: the name of the variable.
        room: limits what may be read.

    Raises:
        MissingPackage: if h5py is not installed.
        BeyondLimit: if a part is stored outside the file, or exceeds the limits.
        Exception: of various types, if it is damaged.
    """
    try:
        import h5py
        from h5py import h5d, h5l, h5r, h5s
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f'{room.path} is a MATLAB 7.3 file, and the package h5py is not installed',
            todo='pip install "vireid[matlab]", or write it in MATLAB with save(..., \'-v7\')',
        ) from error

    def plain(dataset: Any, depth: int) -> Any:
        if dataset is None:
            raise Malformed('a cell refers to nothing')
        if not isinstance(dataset, h5d.DatasetID):  # a struct, a sparse matrix
            return 'something else'
        layout = dataset.get_create_plist()
        # if a dataset takes data from other files, the library opens them as soon as its shape is read
        if layout.get_external_count() or layout.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
            raise BeyondLimit('it takes data from another file')
        if _note(dataset, b'MATLAB_empty'):
            return [] if _note(dataset, b'MATLAB_class') == b'cell' else np.zeros((0, 0))
        shape, dtype = dataset.shape, dataset.dtype
        cells = h5py.check_ref_dtype(dtype) is h5py.Reference
        text = dtype.kind == 'u' and _note(dataset, b'MATLAB_class') == b'char'
        if not shape or text or not (cells or dtype.kind in 'fiu'):
            return 'something else'
        if cells:
            room.take_cells(shape, depth)
        if layout.get_layout() == h5d.CHUNKED:
            _take_chunks(dataset, layout, room)
        else:
            room.take_numbers(math.prod(shape))
        content = np.zeros(shape, dtype)
        dataset.read(h5s.ALL, h5s.ALL, content)
        return [plain(h5r.dereference(cell, root), depth + 1) for cell in content.ravel()] if cells else content.T

    room.parts = min(room.parts, PARTS + room.size // 8)
    with h5py.File(file, 'r') as opened:
        root, name = opened.id, variable.encode()
        if not root.links.exists(name):  # `in` would follow a link
            return None
        if root.links.get_info(name).type != h5l.TYPE_HARD:
            raise BeyondLimit(f'{variable!r} is a link, which may lead to another file')
        return plain(opened[variable].id, 0)


def _note(dataset: Any, name: bytes) -> Any:
    """Returns an attribute of a dataset, a number or a short string as bytes; None if there is none."""
    from h5py import check_string_dtype, h5a

    if not h5a.exists(dataset, name):
        return None
    note = h5a.open(dataset, name)
    dtype = note.dtype
    if note.shape != () or dtype.itemsize > 64 or not (dtype.kind in 'iuS' or check_string_dtype(dtype)):
        return None
    value = np.zeros((), dtype)
    note.read(value)
    return value[()]


def _take_chunks(dataset: Any, layout: Any, room: Room) -> None:
    """Reserves room for the chunks of a dataset.

    Raises:
        BeyondLimit: if they are too many or too large.
        Malformed: if a chunk does not unpack to the size that it declares. The library would unpack all of it, however
            large it becomes.
    """
    filters = [layout.get_filter(place)[0] for place in range(layout.get_nfilters())]
    if set(filters) - {DEFLATE, SHUFFLE, FLETCHER32} or len(set(filters)) < len(filters):
        raise Malformed(f'it is compressed by the HDF5 filters {filters}, and MATLAB uses gzip only')
    steps = layout.get_chunk()
    count = math.prod(-(-extent // step) for extent, step in zip(dataset.shape, steps, strict=True))
    if count > CHUNKS:
        raise BeyondLimit(f'a dataset has {count:,} chunks, more than {CHUNKS:,}')
    room.take_parts(count)
    room.take_numbers(count * math.prod(steps))
    size = math.prod(steps) * dataset.dtype.itemsize
    chunks: list[Any] = []
    dataset.chunk_iter(chunks.append)
    if len(chunks) > count:
        raise Malformed(f'a dataset of {count:,} chunks has {len(chunks):,}')
    for chunk in chunks:
        skipped, content = dataset.read_direct_chunk(chunk.chunk_offset)
        if DEFLATE in filters and not skipped >> filters.index(DEFLATE) & 1:
            content = zlib.decompressobj().decompress(content, size + 5)
        if not size <= len(content) <= size + 4:  # a checksum of four bytes may follow
            raise Malformed(f'a chunk that declares {size:,} bytes has a different size')
