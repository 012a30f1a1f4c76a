"""A features file is read back as it was, stands in for the dataset, and a damaged one is refused."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import (
    DamagedFile,
    MissingFile,
    UnknownName,
    UnsafeFile,
    UnsupportedFile,
    VireidError,
    WriteFailed,
    WrongContent,
)
from vireid.exchange import features
from vireid.search.features_file import write_features

ABOUT = {'experiment': 'tffn', 'protocol': {'type': 'cross'}, 'split': 'split 3', 'weights': 'after step 5'}


def embeddings(root: str = '/data/sysu', flipped: bool = False) -> Embeddings:
    samples = (
        Sample(f'{root}/cam1/0006/0001.jpg', 6, 1, VISIBLE),
        Sample(f'{root}/cam3/0006/0001.jpg', 6, 3, INFRARED),
        Sample('/elsewhere/ä.jpg', 7, 6, INFRARED),
    )
    found = np.array([[0, 1], [0.6, 0.8], [-1, 0]], dtype=np.float32)
    return Embeddings(samples, found, -found if flipped else None)


@pytest.mark.parametrize('flipped', [False, True])
def test_it_is_read_back_as_it_was_with_paths_below_the_root(tmp_path: Path, flipped: bool) -> None:
    written = embeddings(flipped=flipped)
    features.save(tmp_path / 'new' / 'f.npz', written, ABOUT, '/data/sysu')
    found = features.load(tmp_path / 'new' / 'f.npz')
    assert [s.path for s in found.split('test')] == ['cam1/0006/0001.jpg', 'cam3/0006/0001.jpg', '/elsewhere/ä.jpg']
    for key in ('identity', 'camera', 'modality'):
        assert [getattr(s, key) for s in found.split('test')] == [getattr(s, key) for s in written.samples]
    assert (found.embeddings.features == written.features).all()
    assert (found.embeddings.flipped is None) is (not flipped)
    if flipped:
        assert (found.embeddings.of(found.split('test'), flipped=True) == -written.features).all()
    assert {key: found.about[key] for key in ABOUT} == ABOUT
    assert found.root == '/data/sysu'
    assert found.split_name == 'split 3'
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['f.npz']


def test_embeddings_that_are_not_of_length_1_are_refused(tmp_path: Path) -> None:
    written = embeddings()
    features.save(tmp_path / 'f.npz', Embeddings(written.samples, 3 * written.features), ABOUT, None)
    with pytest.raises(WrongContent, match='3 to 3') as caught:
        features.load(tmp_path / 'f.npz')
    assert 'np.linalg.norm' in caught.value.todo


def test_there_is_no_training_split(tmp_path: Path) -> None:
    features.save(tmp_path / 'f.npz', embeddings(), ABOUT, None)
    with pytest.raises(UnknownName, match="'train'"):
        features.load(tmp_path / 'f.npz').split('train')


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match='--save-features'):
        features.load(tmp_path / 'f.npz')


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'f.npz'
    features.save(path, embeddings(), ABOUT, None)
    whole = path.read_bytes()
    for content in (b'', b'no features', whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=r'f\.npz'):
            features.load(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(DamagedFile, match=r'f\.npz'):
        features.load(path)


def test_a_file_of_extract_has_no_identities(tmp_path: Path) -> None:
    columns = {'path': ['a.jpg'], 'modality': ['visible'], 'camera': [''], 'time': ['']}
    write_features(tmp_path / 'f.npz', np.ones((1, 1), dtype=np.float32), columns, {'checkpoint': 'last.pt'})
    with pytest.raises(UnsupportedFile, match=r'f\.npz'):
        features.load(tmp_path / 'f.npz')


@pytest.mark.parametrize(
    'change',
    [
        {'about': np.array('[]')},
        {'about': np.array('{}')},
        {'about': np.array('{"protocol": 3}')},
        {'features': np.array([['a', 'b']] * 3)},
        {'features': np.zeros((3, 0), dtype=np.float32)},
        {'features': np.zeros((2, 2), dtype=np.float32)},
        {'features': np.zeros(3, dtype=np.float32)},
        {'features': np.zeros((3, 2))},
        {'identities': np.array([1.5, 2.0, 3.0])},
        {'identities': np.array([[1], [2], [3]])},
        {'paths': np.array([1, 2, 3])},
        {'modalities': np.array(['visible', 'infrared', 'thermal'])},
        {'paths': np.array(['a'])},
    ],
)
def test_content_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    features.save(tmp_path / 'f.npz', embeddings(), ABOUT, None)
    with np.load(tmp_path / 'f.npz') as found:
        arrays = {**{key: found[key] for key in found.files}, **change}
    np.savez(tmp_path / 'f.npz', **arrays)
    with pytest.raises((DamagedFile, WrongContent), match=r'f\.npz'):
        features.load(tmp_path / 'f.npz')


@pytest.mark.parametrize(
    ('rows', 'change', 'kind', 'fact'),
    [
        (500_001, {}, UnsafeFile, r'500,001 (.|\n)*500,000'),
        (200_000, {}, DamagedFile, r'\(3, 2\) .*200,000 '),
        (200_000, {'paths': np.array(['a'])}, DamagedFile, '1 paths, 200,000 identities'),
        (3, {'about': np.array('{' + ' ' * 2**22 + '}')}, UnsafeFile, '4 MiB'),
    ],
)
def test_rows_without_end_are_refused_before_they_become_objects(
    tmp_path: Path,
    rows: int,
    change: dict[str, np.ndarray],
    kind: type[VireidError],
    fact: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features.save(tmp_path / 'f.npz', embeddings(), ABOUT, None)
    with np.load(tmp_path / 'f.npz') as found:
        arrays = {key: found[key] for key in found.files}
    arrays |= {key: np.resize(arrays[key], rows) for key in ('paths', 'identities', 'cameras', 'modalities')}
    np.savez(tmp_path / 'f.npz', **{**arrays, **change})
    monkeypatch.setattr(features, 'Sample', None)
    with pytest.raises(kind, match=fact):
        features.load(tmp_path / 'f.npz')


def test_a_place_that_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match=re.escape(str(tmp_path))) as caught:
        features.require_writable(tmp_path)
    assert 'features.npz' in caught.value.allowed
    (tmp_path / 'file').touch()
    with pytest.raises(WriteFailed, match=r'file/f\.npz'):
        features.require_writable(tmp_path / 'file' / 'f.npz')
    features.require_writable(tmp_path / 'new' / 'f.npz')
    assert not list((tmp_path / 'new').iterdir())


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / 'ran',))

    arrays = dict.fromkeys(('features', 'identities', 'cameras', 'modalities', 'paths'), np.zeros(1))
    np.savez(tmp_path / 'f.npz', **arrays, about=np.array([Evil()], dtype=object))
    with pytest.raises(UnsafeFile, match=r'f\.npz'):
        features.load(tmp_path / 'f.npz')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.skipif(not os.access('/dev/full', os.W_OK), reason='needs /dev/full')
def test_a_full_disk_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'f.npz'
    features.save(path, embeddings(), ABOUT, None)
    real = os.open
    monkeypatch.setattr(
        os, 'open', lambda name, *a: real('/dev/full', os.O_WRONLY) if '.part' in str(name) else real(name, *a)
    )
    with pytest.raises(WriteFailed, match=os.strerror(errno.ENOSPC)):
        features.save(path, embeddings(flipped=True), ABOUT, None)
    monkeypatch.undo()
    assert features.load(path).embeddings.flipped is None
