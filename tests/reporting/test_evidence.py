"""Evidence goes through its file unchanged; a damaged file is an error that says what to do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vireid.errors import DamagedFile, UnsafeFile, UnsupportedFile
from vireid.reporting.collect import collect
from vireid.reporting.evidence import Evidence

ABOUT = {
    **dict.fromkeys(('protocol', 'data', 'weights', 'similarity', 'trial'), ''),
    **{key: [] for key in ('rows', 'notes', 'images', 'identities', 'cameras', 'pairs', 'kinds')},
    'name': 'x',
    'graph': {'nodes': [], 'edges': []},
}


def test_what_is_written_is_read(evaluation, tmp_path):
    found = collect(evaluation(), name='a <run>')
    found.save(tmp_path / 'report.npz')
    again = Evidence.load(tmp_path / 'report.npz')
    assert again.about == json.loads(json.dumps(found.about))
    assert again.thumbs == found.thumbs
    for group in ('cmc', 'distances', 'lists', 'points', 'maps', 'reliability'):
        ours, theirs = getattr(found, group), getattr(again, group)
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_of_no_images(tmp_path):
    Evidence(ABOUT).save(tmp_path / 'report.npz')
    assert Evidence.load(tmp_path / 'report.npz') == Evidence(ABOUT)


@pytest.mark.parametrize('damage', ['torn', 'text', 'empty', 'array', 'another', 'objects'])
def test_a_damaged_file_is_an_error_and_executes_nothing(damage, tmp_path):
    path = tmp_path / 'report.npz'
    Evidence(ABOUT).save(path)
    if damage == 'torn':
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == 'text':
        path.write_text('not an archive')
    elif damage == 'empty':
        path.write_bytes(b'')
    elif damage == 'array':
        with path.open('wb') as file:
            np.save(file, np.ones(3))
    elif damage == 'another':
        np.savez(path, a=np.ones(3))
    else:
        np.savez(path, format=np.array([{'code': 1}], dtype=object))
    kind = UnsafeFile if damage == 'objects' else DamagedFile  # which are pickles
    with pytest.raises(kind, match=r'report\.npz') as caught:
        Evidence.load(path)
    assert 'CONFIG CHECKPOINT' in caught.value.todo


def test_one_of_another_version_is_refused(tmp_path):
    np.savez(tmp_path / 'report.npz', format=np.array(99))
    with pytest.raises(UnsupportedFile, match=r'report\.npz .*\b99\b.*\b1\b'):
        Evidence.load(tmp_path / 'report.npz')


@pytest.mark.parametrize(
    ('about', 'groups', 'number'),
    [
        ({'identities': [{'queries': 1, 'R1': 0.5, 'mAP': 0.5}] * 20_001}, {}, '20,001'),
        ({'images': [['a.jpg', 1, 1, 'visible']] * 5001}, {}, '5,001'),
        ({'pairs': [{'images': [0, 0], 'similarity': 1.0, 'right': True}] * 1001}, {}, '1,001'),
        ({}, {'maps': {'features s': np.zeros((4, 2, 513, 4), np.float16)}}, '513'),
        ({}, {'maps': {'swaps': np.zeros((1, 1, 4, 513, 3), np.float16)}}, '513'),
        ({}, {'maps': {f'cam {n}': np.zeros((4, 2, 1, 1), np.float16) for n in range(41)}}, '41'),
        ({}, {'cmc': {str(n): np.zeros(1) for n in range(101)}}, '101'),
        ({}, {'cmc': {'all': np.zeros(1001)}}, '1,001'),
        ({}, {'distances': {f'same {n}': np.ones(1, int) for n in range(21)}}, '21'),
        ({}, {'lists': {'query': np.zeros(501, int)}}, '501'),
        ({}, {'lists': {'query': np.zeros(1, int), 'gallery': np.zeros((1, 51), int)}}, '51'),
        ({}, {'points': {'image': np.zeros(5001, int)}}, '5,001'),
        ({'x': ' ' * 2**22}, {}, '4 MiB'),
        ({}, {'maps': {'features s': np.zeros((4, 2, 1500, 1500), np.float16)}}, r'36,\d{3},\d{3}'),
    ],
)
def test_a_small_file_that_unpacks_to_hours_of_drawing_is_an_error(about, groups, number, tmp_path):
    Evidence({**ABOUT, **about}, **groups).save(tmp_path / 'report.npz')
    with pytest.raises(UnsafeFile, match=rf'report\.npz .* {number} '):
        Evidence.load(tmp_path / 'report.npz')
