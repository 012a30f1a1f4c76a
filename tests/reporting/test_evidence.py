"""Evidence goes through its file unchanged; a damaged file is an error that says what to do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vireid.core.errors import VireidError
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
    with pytest.raises(VireidError, match=r'report\.npz is damaged') as caught:
        Evidence.load(path)
    assert caught.value.todo == 'score the checkpoint again: vireid test CONFIG CHECKPOINT'


def test_one_of_another_version_is_refused(tmp_path):
    np.savez(tmp_path / 'report.npz', format=np.array(99))
    with pytest.raises(VireidError, match='has format 99; this vireid reads 1'):
        Evidence.load(tmp_path / 'report.npz')
