"""Your own images in one folder per identity."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from vireid.core.types import INFRARED, VISIBLE
from vireid.errors import Conflict, DamagedFile, MissingFile, MissingKey, TooFew, WrongContent, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.datasets.folders import Folders
from vireid.plugins.datasets.own_images import OwnImages


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


@pytest.mark.parametrize('name', ['unknown', 'Unlabeled', '-1'])
def test_a_folder_of_people_who_are_not_known_is_not_a_person(tmp_path: Path, name: str) -> None:
    person(tmp_path, 'anna')
    person(tmp_path, name)
    with pytest.raises(WrongContent, match=rf'4 images\b.*{name}\b'):
        Folders(str(tmp_path))


def test_folders_for_training_and_testing(tmp_path: Path) -> None:
    person(tmp_path / 'train', 'anna')
    person(tmp_path / 'test', 'bert')
    data = Folders(str(tmp_path))
    assert {s.identity for s in data.split('train')} == {1}
    assert {s.identity for s in data.split('test')} == {2}
    person(tmp_path / 'test', 'anna')
    with pytest.raises(WrongContent, match='anna'):
        Folders(str(tmp_path)).split('train')


@pytest.mark.parametrize(('camera', 'other'), [(2, 4), (3, 2)])
def test_a_modality_without_camera_folders_has_a_number_of_its_own(tmp_path: Path, camera: int, other: int) -> None:
    # the same number in both modalities would mean that the cameras are at the same place
    person(tmp_path, 'anna', (INFRARED,))
    person(tmp_path / 'drawn', 'anna', (VISIBLE,))
    (tmp_path / VISIBLE / f'cam{camera}').mkdir(parents=True)
    (tmp_path / 'drawn' / VISIBLE / 'anna').rename(tmp_path / VISIBLE / f'cam{camera}' / 'anna')
    found = {(s.modality, s.camera) for s in Folders(str(tmp_path), test_share=1.0).split('test')}
    assert found == {(VISIBLE, camera), (INFRARED, other)}


def test_an_identity_of_one_modality_is_kept(tmp_path: Path) -> None:
    person(tmp_path, 'anna', (VISIBLE,))
    person(tmp_path, 'bert')
    assert {(s.identity, s.modality) for s in Folders(str(tmp_path), test_share=1.0).split('test')} == {
        (1, VISIBLE),
        (2, VISIBLE),
        (2, INFRARED),
    }


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=str(tmp_path)):
        Folders(str(tmp_path))
    with pytest.raises(MissingKey, match='--data-root'):
        Folders()
    for share in (0, 1.5):
        config = {'type': 'Folders', 'root': str(tmp_path), 'test_share': share}
        with pytest.raises(WrongValue, match=f'test_share is {share} '):
            create_manager().components.build('datasets', config, where='dataset')
    person(tmp_path, 'anna', (VISIBLE,))
    with pytest.raises(TooFew, match=r"'test' .* infrared "):
        Folders(str(tmp_path)).split('test')


def test_folders_without_any_image_are_named(tmp_path: Path) -> None:
    for modality in ('visible', 'infrared'):
        (tmp_path / modality / 'a').mkdir(parents=True)
    with pytest.raises(MissingFile, match='visible/a, infrared/a'):
        Folders(str(tmp_path))


def members(data: OwnImages, split: str) -> set[str]:
    return {data.names[s.identity] for s in data.parts[split]}


def test_validation_people_may_have_a_folder_beside_train_and_test(tmp_path: Path) -> None:
    for part, name in (('train', 'anna'), ('val', 'bert'), ('test', 'carl')):
        person(tmp_path / part, name)
    data = Folders(str(tmp_path), val_share=0.5)  # not needed
    assert [members(data, part) for part in ('train', 'val', 'test')] == [{'anna'}, {'bert'}, {'carl'}]


def test_cameras_may_have_folders(tmp_path: Path) -> None:
    person(tmp_path, 'anna')
    (tmp_path / 'visible').rename(tmp_path / 'people')
    for camera in (3, 10):
        shutil.copytree(tmp_path / 'people', tmp_path / f'visible/cam{camera}')
    found = [(Path(s.path).relative_to(tmp_path).as_posix(), s.camera) for s in Folders(str(tmp_path), 1.0).samples]
    assert found == [
        ('visible/cam3/anna/1.jpg', 3),
        ('visible/cam3/anna/2.jpg', 3),
        ('visible/cam10/anna/1.jpg', 10),
        ('visible/cam10/anna/2.jpg', 10),
        ('infrared/anna/1.jpg', 2),
        ('infrared/anna/2.jpg', 2),
    ]


def test_a_person_may_be_called_like_a_camera(tmp_path: Path) -> None:
    for name in ('cam1', 'cam2'):
        person(tmp_path, name)
    assert members(Folders(str(tmp_path)), 'test') == {'cam2'}


def test_cameras_without_people_are_an_error(tmp_path: Path) -> None:
    person(tmp_path, 'cam1', (VISIBLE,))
    person(tmp_path, 'Cam 3', (INFRARED,))
    with pytest.raises(WrongContent, match=r'Cam 3, cam1\b'):
        Folders(str(tmp_path))


def test_people_beside_cameras_are_an_error(tmp_path: Path) -> None:
    person(tmp_path, 'anna')
    (tmp_path / 'visible/cam3/bert').mkdir(parents=True)
    with pytest.raises(WrongContent, match=r'\(cam3\) .*\(anna\)'):
        Folders(str(tmp_path))


def test_folds_are_of_all_people_whatever_their_folder(tmp_path: Path) -> None:
    for number in range(6):
        person(tmp_path / ('train' if number < 5 else 'test'), f'p{number}')
    tested = []
    for fold in (1, 2, 3):
        data = Folders(str(tmp_path), folds=3, fold=fold)
        assert data.split_name == f'fold {fold} of 3'
        assert members(data, 'train').isdisjoint(members(data, 'test'))
        assert len(members(data, 'train') | members(data, 'test')) == 6
        tested += sorted(members(data, 'test'))
    assert sorted(tested) == ['p0', 'p1', 'p2', 'p3', 'p4', 'p5']
    assert Folders(str(tmp_path)).split_name == ''
    with pytest.raises(Conflict, match=r'test_share .*0\.25.*folds=3'):
        Folders(str(tmp_path), 0.25, folds=3)


def test_someone_in_train_and_in_test_is_one_person_in_a_fold(tmp_path: Path) -> None:
    for number in range(4):
        person(tmp_path / 'train', f'p{number}')
    person(tmp_path / 'test', 'p0')
    data = Folders(str(tmp_path), folds=2)
    assert len(data.split('train')) + len(data.split('test')) == 4 * 4 + 4
    assert members(data, 'train').isdisjoint(members(data, 'test'))


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_one_name_in_several_spellings_of_unicode_and_blanks_is_one_person(tmp_path: Path) -> None:
    touch(tmp_path, 'visible/José/1.jpg', f'infrared/{unicodedata.normalize("NFD", "José")}/1.jpg')
    touch(tmp_path, 'visible/anna/1.jpg', 'visible/anna /2.jpg', 'infrared/anna/1.jpg')
    data = Folders(str(tmp_path), test_share=1.0)
    assert set(data.names.values()) == {'anna', 'José'}
    assert sorted((s.name, s.modality) for s in data.samples) == [
        ('José', 'infrared'), ('José', 'visible'), ('anna', 'infrared'), ('anna', 'visible'), ('anna', 'visible'),
    ]  # fmt: skip


@pytest.mark.parametrize(('one', 'other'), [('Anna', 'anna'), ('0007', '7'), ('7', '7.0')])
def test_names_that_look_like_one_person_are_refused_with_both_spellings(tmp_path: Path, one: str, other: str) -> None:
    touch(tmp_path, f'visible/{one}/1.jpg', f'infrared/{other}/1.jpg', 'visible/x/1.jpg', 'infrared/x/1.jpg')
    data = Folders(str(tmp_path))
    for refused in (lambda: data.split('train'), lambda: data.divide(0.5)):
        with pytest.raises(WrongContent) as caught:
            refused()
        assert f"'{one}' and '{other}'" in caught.value.given


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path) -> None:
    for name in ('a', 'b'):
        touch(tmp_path, f'visible/{name}/1.jpg', f'infrared/{name}/1.pgm')
    touch(
        tmp_path, 'visible/a/track2/2.jpg', 'visible/a/track2/deep/3.jpg', 'infrared/b/@eaDir/1.jpg',
        'visible/__MACOSX/._1.jpg', 'visible/@eaDir/a/thumb.jpg', 'infrared/empty/Thumbs.db', 'visible/loose.jpg',
        'visible/a/2.heic', 'visible/b/2.HEIC', 'infrared/a/notes.txt', 'infrared/a/.hidden.jpg',
        'infrared/a/Thumbs.db', 'thermal/a/1.jpg', 'visible/front/anna/1.jpg',
    )  # fmt: skip
    data = Folders(str(tmp_path), test_share=1.0)
    assert {(s.name, s.modality) for s in data.samples} == {(n, m) for n in 'ab' for m in (VISIBLE, INFRARED)}
    assert data.passed_over == (
        '2 images in subfolders of identity folders are not read: visible/a/track2 (2); move them into the identity '
        'folder',
        '2 folders with images only in subfolders are not read: visible/front, thermal; an identity folder contains '
        'images, and a camera folder is called cam1, cam2, ...',
        '1 image outside identity folders is not read: visible/loose.jpg',
        '3 files in unsupported formats are not read: .heic (2), .txt (1), such as visible/a/2.heic',
        '3 folders without images are ignored: visible/@eaDir, visible/__MACOSX, infrared/empty',
    )


def test_a_clean_folder_passes_nothing_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f'{m}/cam{c}/{n}/1.jpg' for m, c in ((VISIBLE, 1), (INFRARED, 2)) for n in 'ab'))
    assert Folders(str(tmp_path)).passed_over == ()


@pytest.mark.parametrize('name', ['Cam1', 'camera1', 'cam_1', 'CAM 01'])
def test_cameras_may_be_spelled_in_other_ways(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f'visible/{name}/a/1.jpg', 'visible/cam2/a/1.jpg', 'infrared/a/1.jpg')
    assert {(s.camera, s.name) for s in Folders(str(tmp_path), 1.0).samples if s.modality == VISIBLE} == {
        (1, 'a'),
        (2, 'a'),
    }


def test_two_folders_of_one_camera_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, 'visible/cam1/a/1.jpg', 'visible/Camera_1/a/2.jpg', 'infrared/a/1.jpg')
    with pytest.raises(WrongContent, match=r'Camera_1 and cam1, .* 1'):
        Folders(str(tmp_path))


def test_one_person_is_too_few_and_named(tmp_path: Path) -> None:
    person(tmp_path, 'anna')
    with pytest.raises(TooFew, match=r"anna.*'train'"):  # not an unknown name of a split
        Folders(str(tmp_path)).split('train')


def test_links_that_lead_back_end_and_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in 'ab':
        person(tmp_path, name)
    (tmp_path / 'visible/a/again').symlink_to(tmp_path / 'visible')
    (tmp_path / 'visible/loop').symlink_to('loop')
    (tmp_path / 'visible/a/loop.jpg').symlink_to('loop.jpg')
    data = Folders(str(tmp_path))
    assert str(tmp_path / 'visible/a/loop.jpg') in {s.path for s in data.samples}  # reading it reports the error
    assert 'visible/a/again (' in data.passed_over[0]

    def scandir(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(os, 'scandir', scandir)
    with pytest.raises(DamagedFile, match=f'{tmp_path}/visible .*Permission'):
        Folders(str(tmp_path))


def test_crops_without_names_are_named_first(tmp_path: Path) -> None:
    (tmp_path / 'visible/cam1/walk/000001').mkdir(parents=True)
    (tmp_path / 'visible/cam1/walk/000001/a.jpg').write_bytes(b'x')
    for todo in (None, f'vireid label {tmp_path}'):
        with pytest.raises(MissingFile, match='visible/cam1/walk') as refused:
            Folders(str(tmp_path))
        assert (refused.value.todo or '').endswith(todo or '')
        assert bool(refused.value.todo) == bool(todo)
        (tmp_path / 'crops.csv').touch()
