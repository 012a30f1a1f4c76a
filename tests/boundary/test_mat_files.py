"""MATLAB files are read as MATLAB means them, from their own bytes alone, and a small file takes little memory."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import savemat
from scipy.sparse import csc_array

from vireid.boundary import mat_limits
from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.mat_files import read_cell, read_variable
from vireid.errors import MissingKey

h5py = pytest.importorskip('h5py')

DOUBLE, CHAR, CELL = 6, 4, 1  # classes of MATLAB 5
BYTES, INT32, UINT32, FLOAT64, MATRIX, COMPRESSED = 2, 5, 6, 9, 14, 15  # types of its elements
ONE = np.ones((1, 1))
NO_NUMBER = r'^\D+$'  # the errors of limits, types and sizes have one


def element(kind: int, data: bytes, order: str = '<') -> bytes:
    return struct.pack(order + 'II', kind, len(data)) + data + bytes(-len(data) % 8)


def array(group: int, shape: tuple[int, ...], content: bytes, name: bytes = b'', order: str = '<') -> bytes:
    flags = element(UINT32, struct.pack(order + 'II', group, 0), order)
    sizes = element(INT32, struct.pack(f'{order}{len(shape)}i', *shape), order)
    return element(MATRIX, flags + sizes + element(1, name, order) + content, order)


def cell(*content: bytes, shape: tuple[int, ...] | None = None, name: bytes = b'feature') -> bytes:
    return array(CELL, shape or (1, len(content)), b''.join(content), name)


def mat5(path: Path, *variables: bytes, order: str = '<') -> Path:
    path.write_bytes(b'MATLAB 5.0 MAT-file'.ljust(124) + {'<': b'\0\1IM', '>': b'\1\0MI'}[order] + b''.join(variables))
    return path


def double(*numbers: float) -> bytes:
    return array(DOUBLE, (1, len(numbers)), element(FLOAT64, struct.pack(f'<{len(numbers)}d', *numbers)))


def mat73(path: Path, make: Callable[[Any], list[Any]]) -> Path:
    """Writes `feature`, the datasets that `make` returns, as MATLAB 7.3 lays a cell array out."""
    with h5py.File(path, 'w', userblock_size=512) as file:
        refer(file, 'feature', make(file))
    with path.open('r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124) + b'\0\2IM')
    return path


def refer(file: Any, name: str, items: list[Any], **options: Any) -> Any:
    cells = file.create_dataset(name, (len(items), 1), dtype=h5py.ref_dtype, **options)
    cells.attrs['MATLAB_class'] = np.bytes_('cell')
    for place, item in enumerate(items):
        cells[place, 0] = item.ref
    return cells


def store(file: Any, name: str, data: Any, kind: str = 'double', empty: bool = False, **options: Any) -> Any:
    stored = file.create_dataset(f'#refs#/{name}', data=data, **options)
    stored.attrs['MATLAB_class'] = np.bytes_(kind)
    if empty:
        stored.attrs['MATLAB_empty'] = np.uint8(1)
    return stored


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files may unpack to 1 MiB instead of 256."""
    monkeypatch.setattr(mat_limits, 'ARRAYS', 2**20)


class TestMatlab5:
    @pytest.mark.parametrize('order', ['<', '>'])
    def test_a_cell_array_written_byte_by_byte(self, tmp_path: Path, order: str) -> None:
        # 2 x 3, column after column, and 1 x 2 of MATLAB's doubles that fit in bytes: these stand within the tag
        first = array(DOUBLE, (2, 3), element(FLOAT64, struct.pack(order + '6d', 1, 4, 2, 5, 3, 6), order), order=order)
        second = array(DOUBLE, (1, 2), struct.pack(order + 'I', 2 << 16 | BYTES) + b'\7\xff\0\0', order=order)
        never_set = element(MATRIX, b'', order)
        whole = array(CELL, (3, 1), first + second + never_set, b'feature', order)
        for variable in (whole, element(COMPRESSED, zlib.compress(whole), order)[: 8 + len(zlib.compress(whole))]):
            a, b, c = read_cell(mat5(tmp_path / 'a.mat', variable, order=order), 'feature')
            assert a.tolist() == [[1, 2, 3], [4, 5, 6]]
            assert (a.dtype, b.dtype) == (np.float64, np.uint8)
            assert b.tolist() == [[7, 255]]
            assert c.size == 0

    numbers = st.sampled_from(['f4', 'f8', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8'])
    matrices = numbers.flatmap(lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(0, 4), st.integers(0, 4))))

    @settings(max_examples=40)
    @given(st.lists(matrices, min_size=1, max_size=4), st.booleans())
    def test_what_scipy_writes(self, tmp_path_factory: Any, matrices: list[np.ndarray], compressed: bool) -> None:
        path = tmp_path_factory.getbasetemp() / 'scipy.mat'
        cells = np.empty((1, len(matrices)), dtype=object)
        for place, matrix in enumerate(matrices):
            cells[0, place] = matrix
        savemat(path, {'before': np.ones(500), 'feature': cells, 'after': 1}, do_compression=compressed)
        for read, matrix in zip(read_cell(path, 'feature'), matrices, strict=True):
            assert read.dtype == matrix.dtype
            np.testing.assert_array_equal(read, matrix)

    def test_cells_within_cells_are_lists(self, tmp_path: Path) -> None:
        inner = cell(double(1), double(2, 3), shape=(2, 1), name=b'')
        (first, second), third = read_cell(mat5(tmp_path / 'a.mat', cell(inner, double(4))), 'feature')
        assert [first.tolist(), second.tolist(), third.tolist()] == [[[1]], [[2, 3]], [[4]]]

    @pytest.mark.parametrize('compressed', [False, True])
    def test_what_is_no_real_matrix_is_a_text(self, tmp_path: Path, compressed: bool) -> None:
        cells = np.empty((1, 5), dtype=object)
        cells[0] = ['text', {'a': 1}, ONE * 1j, csc_array(ONE), ONE]
        savemat(tmp_path / 'a.mat', {'feature': cells}, do_compression=compressed)
        assert [type(item) for item in read_cell(tmp_path / 'a.mat', 'feature')] == [*[str] * 4, np.ndarray]

    def test_text_without_characters_is_empty(self, tmp_path: Path) -> None:
        path = mat5(tmp_path / 'a.mat', cell(array(CHAR, (0, 0), element(16, b''))))
        assert read_cell(path, 'feature')[0].size == 0

    def test_other_variables_are_passed_over_whatever_they_are(self, tmp_path: Path) -> None:
        opaque = element(MATRIX, element(UINT32, struct.pack('<II', 17, 0)) + element(1, b'table') + bytes(40))
        broken = array(DOUBLE, (9, 9), element(99, bytes(8)), b'other')
        path = mat5(tmp_path / 'a.mat', opaque, broken, cell(double(5)))
        assert read_cell(path, 'feature')[0].tolist() == [[5]]
        assert read_variable(path, 'id') is None
        with pytest.raises(MissingKey, match="'id'"):
            read_cell(path, 'id')

    def test_the_first_of_one_name_counts(self, tmp_path: Path) -> None:
        path = mat5(tmp_path / 'a.mat', cell(double(1)), cell(double(2)))
        assert read_cell(path, 'feature')[0].tolist() == [[1]]


class TestMatlab73:
    def test_every_layout_that_matlab_writes(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).random((4, 6))

        def make(file: Any) -> list[Any]:
            # of MATLAB, all empty cells refer to one dataset
            empty = store(file, 'a', np.zeros(2, np.uint64), 'canonical empty', empty=True)
            inner = refer(file, '#refs#/n', [store(file, 'x', ONE), empty])
            compressed = store(file, 'c', np.arange(15.0).reshape(3, 5), chunks=(2, 2), compression='gzip')
            parts = file.create_dataset('#refs#/p', (4, 4), np.float64, chunks=(2, 2), compression='gzip')
            parts[:2, :2] = 1  # the other chunks are not stored
            kept = file.create_dataset('#refs#/k', noise.shape, np.float64, chunks=noise.shape, compression='gzip')
            kept.id.write_direct_chunk((0, 0), noise.tobytes(), filter_mask=1)  # as one that does not get smaller is
            return [
                store(file, 'd', np.arange(6.0).reshape(3, 2)),
                store(file, 's', np.float32([[1], [2]]), 'single'),
                empty,
                inner,
                compressed,
                parts,
                kept,
                store(file, 'e', np.array([0, 3], np.uint64), 'cell', empty=True),
                store(file, 't', np.uint16([[104], [105]]), 'char'),
                file.create_group('#refs#/struct'),
                store(file, 'i', np.array([[(1, 2)]], dtype=[('real', 'f8'), ('imag', 'f8')])),
                empty,
            ]

        d, s, empty, inner, compressed, parts, kept, cells, text, group, imaginary, again = read_cell(
            mat73(tmp_path / 'a.mat', make), 'feature'
        )
        assert d.tolist() == [[0, 2, 4], [1, 3, 5]]
        assert (s.tolist(), s.dtype) == ([[1, 2]], np.float32)
        assert empty.size == again.size == inner[1].size == 0
        assert inner[0].tolist() == [[1]]
        assert (compressed == np.arange(15.0).reshape(3, 5).T).all()
        assert parts.sum() == parts[:2, :2].sum() == 4
        assert (kept == noise.T).all()
        assert cells == []
        assert [type(item) for item in (text, group, imaginary)] == [str] * 3

    def test_what_hdf5storage_writes(self, tmp_path: Path) -> None:
        """It shuffles bytes, compresses and adds checksums, references included."""
        options: dict[str, Any] = {'compression': 'gzip', 'shuffle': True, 'fletcher32': True}
        with h5py.File(tmp_path / 'a.mat', 'w') as file:
            items = [store(file, f'{n}', np.full((40, 50), n), chunks=(20, 25), **options) for n in range(30)]
            refer(file, 'feature', items, chunks=(7, 1), **options)
        found = read_cell(tmp_path / 'a.mat', 'feature')
        assert [item.shape for item in found] == [(50, 40)] * 30
        assert [item.min() for item in found] == [item.max() for item in found] == [*range(30)]

    def test_only_a_number_or_a_short_text_counts_as_a_note(self, tmp_path: Path) -> None:
        for note in (np.ones(3, np.uint8), np.bytes_(b'x' * 65), h5py.Empty('f8'), ONE.astype([('a', 'f8')])[0, 0]):

            def make(file: Any, note: Any = note) -> list[Any]:
                stored = file.create_dataset('x', data=ONE)
                stored.attrs['MATLAB_empty'] = note
                return [stored]

            assert read_cell(mat73(tmp_path / 'a.mat', make), 'feature')[0].tolist() == [[1]]

    def test_a_variable_that_is_not_there(self, tmp_path: Path) -> None:
        assert read_variable(mat73(tmp_path / 'a.mat', lambda file: []), 'id') is None


SECRET = np.arange(100.0, 116.0).reshape(4, 4)


class TestOtherFiles:
    """HDF5 takes data from any file that a file names. Each test first shows that h5py does as the file says."""

    @pytest.fixture(autouse=True)
    def secret(self, tmp_path: Path) -> Path:
        (tmp_path / 'secret.bin').write_bytes(SECRET.tobytes())
        with h5py.File(tmp_path / 'secret.h5', 'w') as file:
            file['feature'] = SECRET
        return tmp_path

    def external(self, file: Any, name: str) -> Any:
        where = str(Path(file.filename).parent / 'secret.bin')
        return file.create_dataset(name, (4, 4), np.float64, external=[(where, 0, 128)])

    def virtual(self, file: Any, name: str) -> Any:
        layout = h5py.VirtualLayout((4, 4), np.float64)
        layout[:] = h5py.VirtualSource(str(Path(file.filename).parent / 'secret.h5'), 'feature', (4, 4))
        return file.create_virtual_dataset(name, layout)

    def growing(self, file: Any, name: str) -> Any:
        """The shape is that of the other file, which asking for it opens."""
        whole = h5py.h5s.UNLIMITED
        layout = h5py.VirtualLayout((4, 4), np.float64, maxshape=(None, 4))
        source = str(Path(file.filename).parent / 'secret.h5')
        layout[:whole] = h5py.VirtualSource(source, 'feature', (4, 4), maxshape=(None, 4))[:whole]
        return file.create_virtual_dataset(name, layout)

    @pytest.mark.parametrize('place', ['variable', 'cell', 'cell in a cell'])
    @pytest.mark.parametrize('kind', ['external', 'virtual', 'growing'])
    def test_data_of_another_file(self, tmp_path: Path, kind: str, place: str) -> None:
        path = tmp_path / 'a.mat'
        with h5py.File(path, 'w') as file:
            item = getattr(self, kind)(file, 'feature' if place == 'variable' else 'x')
            if place == 'cell in a cell':
                item = refer(file, 'y', [item])
            if place != 'variable':
                refer(file, 'feature', [item])
        with h5py.File(path, 'r') as file:
            assert (file['feature' if place == 'variable' else 'x'][()] == SECRET).all()
        with pytest.raises(BeyondLimit, match=NO_NUMBER):
            read_variable(path, 'feature')

    def test_references_in_another_file(self, tmp_path: Path) -> None:
        path = tmp_path / 'a.mat'
        with h5py.File(path, 'w') as file:
            file.create_dataset('feature', (4, 1), h5py.ref_dtype, external=[(str(tmp_path / 'secret.bin'), 0, 128)])
        with pytest.raises(BeyondLimit, match=NO_NUMBER):
            read_variable(path, 'feature')

    @pytest.mark.parametrize('link', ['external', 'soft'])
    def test_a_link_is_not_followed(self, tmp_path: Path, link: str) -> None:
        path = tmp_path / 'a.mat'
        with h5py.File(path, 'w') as file:
            file['other'] = h5py.ExternalLink(str(tmp_path / 'secret.h5'), 'feature')
            file['feature'] = file.get('other', getlink=True) if link == 'external' else h5py.SoftLink('/other')
        with h5py.File(path, 'r') as file:
            assert (file['feature'][()] == SECRET).all()
        with pytest.raises(BeyondLimit, match="'feature'"):
            read_variable(path, 'feature')

    def test_a_filter_of_another_library_is_not_loaded(self, tmp_path: Path) -> None:
        path = mat73(tmp_path / 'a.mat', lambda file: [store(file, 'x', SECRET, chunks=(4, 4), compression='lzf')])
        with pytest.raises(Malformed, match=r'\[32000\]'):
            read_variable(path, 'feature')

    @pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='Windows has no named pipes among paths')
    def test_a_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / 'a.mat')
        with pytest.raises(OSError) as caught:  # noqa: PT011
            read_variable(tmp_path / 'a.mat', 'feature')
        assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(tmp_path / 'a.mat'))

    def test_the_file_that_was_opened_is_read_whatever_takes_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = mat73(tmp_path / 'a.mat', lambda file: [store(file, 'x', ONE)])
        opened = h5py.File

        def swapped(*args: Any, **options: Any) -> Any:
            (tmp_path / 'secret.h5').replace(path)
            return opened(*args, **options)

        monkeypatch.setattr(h5py, 'File', swapped)
        assert read_cell(path, 'feature')[0].tolist() == [[1]]


def nested(depth: int) -> bytes:
    """Cells of one cell each, so many levels, built from the inside out in one pass."""
    inner = double(1)
    size, heads = len(inner), []
    for level in range(depth):
        name = b'feature' if level == depth - 1 else b''
        head = array(CELL, (1, 1), b'', name)[8:]
        size += len(head)
        heads.append(struct.pack('<II', MATRIX, size) + head)
        size += 8
    return b''.join(reversed(heads)) + inner


class TestHostileMatlab5:
    @pytest.mark.parametrize(
        ('variable', 'kind', 'fact'),
        [
            (cell(double(1), shape=(1, 2**31 - 1)), BeyondLimit, 'parts'),
            (cell(double(1), shape=(1, -1)), Malformed, 'shape'),
            (cell(double(1), shape=(1,)), Malformed, 'shape'),
            (cell(double(1), shape=(1,) * 33), Malformed, 'shape'),
            (cell(double(1), shape=(1, 2)), struct.error, 'buffer'),
            (cell(element(COMPRESSED, b'')), Malformed, r'\b15\b'),
            # SciPy takes the type as an index without looking, which ends the process
            (cell(array(DOUBLE, (1, 1), element(0x7FFF, bytes(8)))), Malformed, r'\b32767\b'),
            (cell(array(DOUBLE, (2**31 - 1,) * 8, element(FLOAT64, bytes(8)))), Malformed, r'\b8 bytes'),
            (cell(array(DOUBLE, (1, 1), element(FLOAT64, bytes(16)))), Malformed, r'\b1 .*\b16 bytes'),
            (cell(array(DOUBLE, (1, 1), struct.pack('<II', FLOAT64, 2**32 - 1))), Malformed, NO_NUMBER),
            (cell(array(DOUBLE, (1, 1), struct.pack('<II', 5 << 16 | BYTES, 0) + bytes(8))), Malformed, NO_NUMBER),
            (struct.pack('<II', MATRIX, 2**32 - 1), Malformed, NO_NUMBER),
            (struct.pack('<II', COMPRESSED, 2**32 - 1), Malformed, NO_NUMBER),
            (element(99, bytes(8)), Malformed, r'\b99\b'),
            (element(COMPRESSED, zlib.compress(cell(double(1)))[:-4]), Malformed, NO_NUMBER),
            (element(COMPRESSED, zlib.compress(cell(double(1)) + bytes(8))), Malformed, r"'feature' .*\d"),
        ],
        ids=map(str, range(16)),
    )
    def test_content_that_is_declared_but_missing(
        self, tmp_path: Path, variable: bytes, kind: type[Exception], fact: str
    ) -> None:
        path = mat5(tmp_path / 'a.mat', variable)
        with pytest.raises(kind, match=fact):
            read_variable(path, 'feature')

    def test_64_levels_are_read_and_more_are_refused(self, tmp_path: Path) -> None:
        found = read_variable(mat5(tmp_path / 'a.mat', nested(64)), 'feature')
        for _ in range(64):
            (found,) = found
        assert found.tolist() == [[1]]
        for depth in (65, 20_000):  # SciPy ends the process from about 20,000 on
            with pytest.raises(BeyondLimit, match=r'\b64\b'):
                read_variable(mat5(tmp_path / 'a.mat', nested(depth)), 'feature')

    @pytest.mark.usefixtures('small')
    def test_a_bomb_takes_no_more_memory_than_a_file_may_unpack_to(self, tmp_path: Path) -> None:
        bomb = array(DOUBLE, (1, 2**21), element(FLOAT64, bytes(2**24)))  # 16 MiB
        path = mat5(tmp_path / 'a.mat', element(COMPRESSED, zlib.compress(cell(bomb))))
        del bomb
        assert path.stat().st_size < 20_000
        tracemalloc.start()
        with pytest.raises(BeyondLimit, match=f' {mat_limits.ARRAYS + 4 * path.stat().st_size:,} '):
            read_variable(path, 'feature')
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        tracemalloc.stop()

    @pytest.mark.usefixtures('small')
    def test_numbers_count_as_float64(self, tmp_path: Path) -> None:
        """200,000 bytes would be 1.6 MB where features are compared."""
        packed = array(DOUBLE, (1, 200_000), element(BYTES, bytes(200_000)))
        path = mat5(tmp_path / 'a.mat', element(COMPRESSED, zlib.compress(cell(packed))))
        with pytest.raises(BeyondLimit, match='numbers'):
            read_variable(path, 'feature')

    @pytest.mark.usefixtures('small')
    def test_what_is_not_compressed_is_read_whatever_its_size(self, tmp_path: Path) -> None:
        numbers = np.random.default_rng(0).random((2_000, 200))  # 3.2 MB
        cells = np.empty((1, 1), dtype=object)
        cells[0, 0] = numbers
        for compressed in (False, True):
            savemat(tmp_path / 'a.mat', {'feature': cells}, do_compression=compressed)
            assert (read_cell(tmp_path / 'a.mat', 'feature')[0] == numbers).all()

    @pytest.mark.parametrize('compressed', [False, True])
    def test_a_file_torn_anywhere(self, tmp_path: Path, compressed: bool) -> None:
        whole = cell(double(1, 2), double(3))
        variable = element(COMPRESSED, zlib.compress(whole)) if compressed else whole
        content = mat5(tmp_path / 'a.mat', variable.rstrip(b'\0')).read_bytes()
        for length in range(len(content) - 8):
            (tmp_path / 'a.mat').write_bytes(content[:length])
            if length == 128:  # a file without variables
                assert read_variable(tmp_path / 'a.mat', 'feature') is None
            else:
                with pytest.raises((Malformed, struct.error, zlib.error)):
                    read_variable(tmp_path / 'a.mat', 'feature')


class TestHostileMatlab73:
    def refused(self, path: Path, kind: type[ValueError], fact: str) -> None:
        with pytest.raises(kind, match=fact):
            read_variable(path, 'feature')

    def test_a_cell_array_within_itself(self, tmp_path: Path) -> None:
        def make(file: Any) -> list[Any]:
            loop = refer(file, 'loop', [file])
            loop[0, 0] = loop.ref
            return [loop]

        self.refused(mat73(tmp_path / 'a.mat', make), BeyondLimit, r'\b64\b')

    def test_cells_that_share_cells_count_wherever_they_stand(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Eight levels of three references each to the level below are 9,840 cells, and forty would never end."""
        monkeypatch.setattr('vireid.boundary.mat_hdf5.PARTS', 500)

        def make(file: Any) -> list[Any]:
            last = store(file, 'leaf', ONE)
            for level in range(8):
                last = refer(file, f'level{level}', [last] * 3)
            return [last]

        path = mat73(tmp_path / 'a.mat', make)
        assert path.stat().st_size < 8 * 9_840
        self.refused(path, BeyondLimit, 'parts')

    def test_chunks_that_are_shared_count_wherever_they_stand(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr('vireid.boundary.mat_hdf5.PARTS', 500)

        def make(file: Any) -> list[Any]:
            return [store(file, 'x', np.ones((10, 10)), chunks=(1, 1))] * 300

        self.refused(mat73(tmp_path / 'a.mat', make), BeyondLimit, 'parts')

    @pytest.mark.usefixtures('small')
    def test_a_matrix_that_is_shared_counts_wherever_it_stands(self, tmp_path: Path) -> None:
        path = mat73(tmp_path / 'a.mat', lambda file: [store(file, 'x', np.ones((100, 100)))] * 100)
        self.refused(path, BeyondLimit, 'numbers')

    @pytest.mark.parametrize(
        ('shape', 'options', 'fact'),
        [
            ((2**20, 2**20), {}, 'numbers'),
            ((2**20, 2**20), {'chunks': (2**15, 2**14), 'compression': 'gzip'}, 'numbers'),
            # the library unpacks a chunk whole, and takes 4 KB for each
            ((4, 4), {'chunks': (2**14, 2**14), 'maxshape': (None, None)}, 'numbers'),
            ((10_001, 1), {'chunks': (1, 1)}, r'\b10,001\b'),
        ],
    )
    def test_content_that_is_declared_but_not_stored(self, tmp_path: Path, shape: Any, options: Any, fact: str) -> None:
        path = mat73(tmp_path / 'a.mat', lambda file: [file.create_dataset('x', shape, np.float64, **options)])
        assert path.stat().st_size < 20_000
        self.refused(path, BeyondLimit, fact)

    def test_more_chunks_than_the_shape_has(self, tmp_path: Path) -> None:
        def make(file: Any) -> list[Any]:
            options: dict[str, Any] = {'chunks': (4, 4), 'maxshape': (None, 4), 'compression': 'gzip'}
            return [store(file, 'x', np.ones((1_003, 4)), **options)]

        path = mat73(tmp_path / 'a.mat', make)
        content = path.read_bytes()
        assert content.count(struct.pack('<QQ', 1_003, 4)) == 1
        path.write_bytes(content.replace(struct.pack('<QQ', 1_003, 4), struct.pack('<QQ', 4, 4)))
        self.refused(path, Malformed, r'\b1 .*\b251\b')

    @pytest.mark.parametrize('content', [zlib.compress(bytes(2**24)), zlib.compress(bytes(120)), bytes(128)])
    def test_a_chunk_that_unpacks_to_another_size(self, tmp_path: Path, content: bytes) -> None:
        def make(file: Any) -> list[Any]:
            stored = file.create_dataset('x', (4, 4), np.float64, chunks=(4, 4), compression='gzip')
            stored.id.write_direct_chunk((0, 0), content)
            return [stored]

        path = mat73(tmp_path / 'a.mat', make)
        tracemalloc.start()
        with pytest.raises((Malformed, zlib.error)):
            read_variable(path, 'feature')
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        tracemalloc.stop()

    def test_a_chunk_that_is_said_not_to_be_compressed_has_its_size(self, tmp_path: Path) -> None:
        def make(file: Any) -> list[Any]:
            stored = file.create_dataset('x', (4, 4), np.float64, chunks=(4, 4), compression='gzip')
            stored.id.write_direct_chunk((0, 0), bytes(100), filter_mask=1)
            return [stored]

        self.refused(mat73(tmp_path / 'a.mat', make), Malformed, r'\b128\b')

    def test_a_reference_to_nothing(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / 'a.mat', 'w') as file:
            file.create_dataset('feature', (2, 1), dtype=h5py.ref_dtype)
        self.refused(tmp_path / 'a.mat', Malformed, NO_NUMBER)


def test_a_file_of_matlab_4_or_of_something_else_is_none(tmp_path: Path) -> None:
    savemat(tmp_path / 'a.mat', {'id': ONE}, format='4')
    with pytest.raises(Malformed, match='MATLAB 5'):
        read_variable(tmp_path / 'a.mat', 'id')


def test_reading_needs_h5py_for_matlab_7_3_alone(tmp_path: Path) -> None:
    path = mat5(tmp_path / 'a.mat', cell(double(1)))
    code = (
        'import sys; from pathlib import Path; from vireid.boundary.mat_files import read_cell; '
        "assert len(read_cell(Path(sys.argv[1]), 'feature')) == 1; assert not {'h5py', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code, str(path)], check=True)
