"""LLCM's raw layout: lists for training, folders for testing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vireid.core.types import INFRARED, VISIBLE
from vireid.errors import IncompleteData, MissingFile, UnknownName, WrongContent
from vireid.plugins.datasets.llcm import LLCM


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training identities, test identities 2 and 11; near-infrared has no camera 3."""
    (tmp_path / 'idx').mkdir()
    (tmp_path / 'idx/train_vis.txt').write_text('vis/0001/a.jpg 0\nvis/0003/b.jpg 1\n')
    (tmp_path / 'idx/train_nir.txt').write_text('nir/0001/c.jpg 0\nnir/0003/d.jpg 1\n')
    (tmp_path / 'idx/test_id.txt').write_text('11,2\n')
    for folder, cameras in (('test_vis', (1, 3, 9)), ('test_nir', (1, 9))):
        for camera in cameras:
            for identity in (2, 11):
                cell = tmp_path / folder / f'cam{camera}' / f'{identity:04d}'
                cell.mkdir(parents=True)
                (cell / '0002.jpg').touch()
                (cell / '0001.jpg').touch()
                (cell / 'Thumbs.db').touch()
    return tmp_path


def test_training_images_are_the_lines_of_the_lists(root: Path) -> None:
    found = [
        (Path(s.path).relative_to(root).as_posix(), s.identity, s.modality) for s in LLCM(str(root)).split('train')
    ]
    assert found == [
        ('vis/0001/a.jpg', 0, VISIBLE),
        ('vis/0003/b.jpg', 1, VISIBLE),
        ('nir/0001/c.jpg', 0, INFRARED),
        ('nir/0003/d.jpg', 1, INFRARED),
    ]


def test_test_images_are_those_of_the_listed_identities_on_every_camera(root: Path) -> None:
    found = LLCM(str(root)).split('test')
    assert [(s.modality, s.identity, s.camera) for s in found[::2]] == [
        *((VISIBLE, identity, camera) for identity in (2, 11) for camera in (1, 3, 9)),
        *((INFRARED, identity, camera) for identity in (2, 11) for camera in (1, 9)),
    ]
    assert [Path(s.path).name for s in found[:2]] == ['0001.jpg', '0002.jpg']


def test_what_is_missing_is_named_with_the_way_to_get_it(root: Path) -> None:
    (root / 'idx/train_nir.txt').unlink()
    with pytest.raises(MissingFile, match=r'idx/train_nir\.txt') as caught:
        LLCM(str(root))
    assert '--layout llcm' in caught.value.todo


def test_a_test_identity_without_images_is_named(root: Path) -> None:
    (root / 'idx/test_id.txt').write_text('2,11,12\n')
    with pytest.raises(IncompleteData, match=r' 1 of 3 .* 0012'):
        LLCM(str(root)).split('test')


@pytest.mark.parametrize('path', ['vis/0002/x.jpg', 'test_vis/cam1/0002/0001.jpg'])
def test_an_identity_for_testing_in_a_training_list_is_refused(root: Path, path: str) -> None:
    (root / 'idx/train_vis.txt').write_text(f'vis/0001/a.jpg 0\n{path} 1\n')
    with pytest.raises(WrongContent, match=rf'train_vis\.txt names {path},'):
        LLCM(str(root)).split('train')


@pytest.mark.parametrize('write', [lambda p: f'{p}/', lambda p: f'{p}//./', lambda p: Path(p)])
def test_the_root_may_end_with_a_slash_and_lie_under_folders_called_cam1(
    tmp_path_factory: pytest.TempPathFactory, root: Path, write
) -> None:
    target = tmp_path_factory.mktemp('copy') / 'cam1' / 'test_vis'
    target.mkdir(parents=True)
    moved = shutil.copytree(root, target / 'llcm')
    found, expected = LLCM(str(write(moved))), LLCM(str(root))
    for split in ('train', 'test'):
        assert [(s.identity, s.camera, Path(s.path).relative_to(moved)) for s in found.split(split)] == [
            (s.identity, s.camera, Path(s.path).relative_to(root)) for s in expected.split(split)
        ]


def test_a_malformed_line_is_named(root: Path) -> None:
    (root / 'idx/train_vis.txt').write_text('vis/0001/a.jpg 0\nvis/0003/b.jpg one\n')
    with pytest.raises(WrongContent, match=r'train_vis\.txt, line 2'):
        LLCM(str(root)).split('train')


def test_there_are_two_splits(root: Path) -> None:
    with pytest.raises(UnknownName, match="'val'"):
        LLCM(str(root)).split('val')
