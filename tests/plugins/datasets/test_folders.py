"""One's own images from folders named after identities."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE
from vireid.plugins.datasets.folders import Folders


def person(folder: Path, name: str, modalities: tuple[str, ...] = (VISIBLE, INFRARED)) -> None:
    for modality in modalities:
        (folder / modality / name).mkdir(parents=True)
        for number in (2, 1):
            (folder / modality / name / f'{number}.jpg').touch()
        (folder / modality / name / 'notes.txt').touch()


def test_the_last_identities_by_name_are_for_testing(tmp_path: Path) -> None:
    for name in ('dora', 'anna', 'carl', 'bert'):
        person(tmp_path, name)
    data = Folders(str(tmp_path), test_share=0.25)
    assert {s.identity for s in data.split('train')} == {1, 2, 3}
    found = [(Path(s.path).relative_to(tmp_path).as_posix(), s.identity, s.camera) for s in data.split('test')]
    assert found == [
        ('visible/dora/1.jpg', 4, 1),
        ('visible/dora/2.jpg', 4, 1),
        ('infrared/dora/1.jpg', 4, 2),
        ('infrared/dora/2.jpg', 4, 2),
    ]


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    for name in ('0007', '0012'):
        person(tmp_path, name)
    assert {s.identity for s in Folders(str(tmp_path), test_share=1.0).split('test')} == {7, 12}


def test_folders_for_training_and_testing(tmp_path: Path) -> None:
    person(tmp_path / 'train', 'anna')
    person(tmp_path / 'test', 'bert')
    data = Folders(str(tmp_path))
    assert {s.identity for s in data.split('train')} == {1}
    assert {s.identity for s in data.split('test')} == {2}
    person(tmp_path / 'test', 'anna')
    with pytest.raises(VireidError, match="'anna' is in train and in test"):
        Folders(str(tmp_path))


def test_an_identity_of_one_modality_is_kept(tmp_path: Path) -> None:
    person(tmp_path, 'anna', (VISIBLE,))
    person(tmp_path, 'bert')
    assert {(s.identity, s.modality) for s in Folders(str(tmp_path), test_share=1.0).split('test')} == {
        (1, VISIBLE),
        (2, VISIBLE),
        (2, INFRARED),
    }


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(VireidError, match='holds no person'):
        Folders(str(tmp_path))
    with pytest.raises(VireidError, match='give --data-root'):
        Folders()
    with pytest.raises(VireidError, match=r'test_share is 1\.5'):
        Folders(str(tmp_path), 1.5)
    person(tmp_path, 'anna', (VISIBLE,))
    with pytest.raises(VireidError, match="the split 'test' has no infrared image"):
        Folders(str(tmp_path)).split('test')


def test_folders_without_any_image_are_named(tmp_path: Path) -> None:
    for modality in ('visible', 'infrared'):
        (tmp_path / modality / 'a').mkdir(parents=True)
    with pytest.raises(VireidError, match='hold no images'):
        Folders(str(tmp_path))
