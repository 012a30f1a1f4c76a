"""Files from outside: limits that a size, a header or a shape announces, each before memory is taken."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.reading import (
    READERS,
    VALUES,
    content_digest,
    duplicate,
    load_arrays,
    parse_json,
    read_bytes,
    read_text,
    reads,
    require_small,
)
from vireid.boundary.tensors import load_tensors
from vireid.errors import DamagedFile, MissingFile, UnsafeFile, WrongContent


def test_text_is_read_as_windows_writes_it(tmp_path):
    (tmp_path / 'a.txt').write_bytes('\ufeffä\r\nb\n'.encode())
    assert read_text(tmp_path / 'a.txt') == 'ä\nb\n'
    (tmp_path / 'a.txt').write_bytes(b'caf\xe9')
    assert read_text(tmp_path / 'a.txt', errors='surrogateescape').encode(errors='surrogateescape') == b'caf\xe9'
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / 'a.txt')
    (tmp_path / 'a.txt').write_bytes(b'a\0b')
    with pytest.raises(Malformed):
        read_text(tmp_path / 'a.txt')


def test_a_file_that_is_too_large_is_not_read_on(tmp_path):
    with open(tmp_path / 'a', 'wb') as file:
        file.truncate(2**40)  # without a block on the disk
    with pytest.raises(BeyondLimit, match=r'\b1 MiB'):
        read_bytes(tmp_path / 'a', 2**20)


def test_json_has_each_key_once_and_60_000_of_them_take_no_time():
    assert len(parse_json('{' + ','.join(f'"k{n}":1' for n in range(60_000)) + '}')) == 60_000
    with pytest.raises(Malformed, match="'b'"):
        parse_json('{"a": {"b": 1, "c": 2, "b": 3}}')
    with pytest.raises(BeyondLimit):
        parse_json('[' * 200_000 + ']' * 200_000)


def test_shared_lists_count_wherever_they_stand():
    level: list = ['x'] * 10
    for _ in range(9):
        level = [level] * 10
    with pytest.raises(BeyondLimit, match=r'\b1,000\b'):
        require_small(level, 1000)
    endless: list = []
    endless.append(endless)
    with pytest.raises(BeyondLimit, match=r'\b64\b'):
        require_small(endless)
    require_small({'a': [1, 2, {'b': 3}]}, 6)


@pytest.mark.parametrize(
    ('raised', 'kind'),
    [
        (Malformed('odd 7'), DamagedFile),
        (BeyondLimit('odd 7'), UnsafeFile),
        (KeyError('odd 7'), DamagedFile),
        (FileNotFoundError('odd 7'), MissingFile),
        (WrongContent('odd 7'), WrongContent),
    ],
    ids=lambda value: getattr(value, '__name__', None),
)
def test_whatever_a_reader_raises_has_a_kind_for_users(tmp_path, monkeypatch, raised, kind):
    monkeypatch.setattr('vireid.boundary.reading.READERS', dict(READERS))
    (tmp_path / 'a.txt').touch()

    @reads('a file')
    def read(path):
        raise raised

    with pytest.raises(kind, match='odd 7') as caught:
        read(tmp_path / 'a.txt')
    assert type(caught.value) is kind


def test_the_first_duplicate_is_told():
    assert duplicate('abcb') == 'b'
    assert duplicate('abc') is None


def packed(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f'{name}.npy', content)
    return file.getvalue()


def header(shape: tuple[int, ...], dtype: str = '<f8') -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {'descr': dtype, 'fortran_order': False, 'shape': shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ('content', 'kind', 'fact'),
    [
        (header((10**12,)), Malformed, r'\(1000000000000,\)'),
        (header((10**9, 10**9)), Malformed, r'\(1000000000, 1000000000\)'),
        (header((3,)) + bytes(16), Malformed, r'\(3,\)'),
        (header((2,), '|O') + bytes(16), BeyondLimit, 'object'),  # a pickle, which can run code
        (b'\x93NUMPY\x09\x00x', Malformed, r'\(9, 0\)'),
    ],
)
def test_an_array_that_announces_more_than_it_has_is_refused(tmp_path, content, kind, fact):
    (tmp_path / 'a.npz').write_bytes(packed(a=content))
    tracemalloc.start()
    with pytest.raises(kind, match=rf'^a\.npy .*{fact}'):
        load_arrays(tmp_path / 'a.npz')
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    (tmp_path / 'a.npz').write_bytes(packed(a=bytes(300 * 2**20)))
    assert (tmp_path / 'a.npz').stat().st_size < 10**6
    with pytest.raises(BeyondLimit, match=f' {300 * 2**20:,} '):
        load_arrays(tmp_path / 'a.npz')


def test_an_archive_of_many_or_large_arrays_is_refused(tmp_path):
    np.savez(tmp_path / 'a.npz', **{str(number): np.zeros(1) for number in range(1001)})
    with pytest.raises(BeyondLimit, match=r'\b1,001\b.*\b1,000\b'):
        load_arrays(tmp_path / 'a.npz')
    np.savez_compressed(tmp_path / 'a.npz', a=np.zeros(10**5))
    assert len(load_arrays(tmp_path / 'a.npz')['a']) == 10**5
    with pytest.raises(BeyondLimit, match=r'\b800,128\b'):
        load_arrays(tmp_path / 'a.npz', 10**5)


def test_long_json_is_refused():
    assert parse_json('[1]', 3) == [1]
    with pytest.raises(BeyondLimit, match=r'\b4 MiB'):
        parse_json(' ' * 2**22 + '[1]', 2**22)


def test_arrays_are_what_numpy_wrote(tmp_path):
    arrays = {
        'a': np.arange(6.0).reshape(2, 3),
        'b': np.array(['x', 'yy']),
        'c': np.zeros((0, 2), dtype=bool),
        'd': np.array(3),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / 'a.npz', **arrays)
        found = load_arrays(tmp_path / 'a.npz')
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


class TestTensors:
    def test_what_torch_wrote_is_read(self, tmp_path):
        content = {'w': torch.arange(6.0).reshape(2, 3), 'n': 3, 'names': ['a'], 'empty': torch.zeros(0)}
        for new in (True, False):
            torch.save(content, tmp_path / 'a.pt', _use_new_zipfile_serialization=new)
            found = load_tensors(tmp_path / 'a.pt')
            assert found.keys() == content.keys()
            assert torch.equal(found['w'], content['w'])

    def test_one_value_shown_a_trillion_times_is_refused(self, tmp_path):
        torch.save({'w': torch.zeros(1).expand(10**6, 10**6)}, tmp_path / 'a.pt')
        with pytest.raises(BeyondLimit, match=f' {4 * 10**12:,} '):
            load_tensors(tmp_path / 'a.pt')

    def test_parts_that_are_compressed_are_refused(self, tmp_path):
        torch.save({'w': torch.zeros(10**6)}, tmp_path / 'a.pt')
        with (
            zipfile.ZipFile(tmp_path / 'a.pt') as archive,
            zipfile.ZipFile(tmp_path / 'b.pt', 'w', zipfile.ZIP_DEFLATED) as other,
        ):
            for name in archive.namelist():
                other.writestr(name, archive.read(name))
        with pytest.raises(Malformed, match='compressed'):
            load_tensors(tmp_path / 'b.pt')

    def test_values_that_grow_when_they_are_walked_through_are_refused(self, tmp_path):
        level: list = ['x'] * 10
        for _ in range(8):
            level = [level] * 10
        torch.save({'w': torch.zeros(1), 'config': level}, tmp_path / 'a.pt')
        with pytest.raises(BeyondLimit, match=f' {VALUES:,} '):
            load_tensors(tmp_path / 'a.pt')

    def test_sparse_ones_are_refused(self, tmp_path):
        torch.save({'w': torch.eye(3).to_sparse()}, tmp_path / 'a.pt')
        with pytest.raises(BeyondLimit, match='sparse'):
            load_tensors(tmp_path / 'a.pt')


def test_a_file_is_known_by_its_size_and_its_beginning(tmp_path):
    long = bytes(70_000)
    names = {}
    for name, content in {
        'a': b'one',
        'b': b'one',
        'c': b'two',
        'd': long,
        'e': long + b'x',
        'f': b'x' + long[1:],
    }.items():
        (tmp_path / name).write_bytes(content)
        names[name] = content_digest(tmp_path / name)
    assert names['a'] == names['b']
    assert len(set(names.values())) == 5
    assert json.dumps(names['a'].hex())  # 8 bytes
    assert len(names['a']) == 8


def test_json_with_half_a_character_is_refused_and_bytes_of_file_names_are_not():
    with pytest.raises(Malformed, match=r"'a\\ud800b'"):
        parse_json(r'{"name": ["a\ud800b"]}')
    with pytest.raises(Malformed, match=r"'\\udfff'"):
        parse_json(rb'{"\udfff": 1}')
    assert parse_json(r'["\ud83d\ude00", "\udcd5\udcc5"]') == ['\U0001f600', '\udcd5\udcc5']
