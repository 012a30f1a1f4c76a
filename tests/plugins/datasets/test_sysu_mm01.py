"""SYSU-MM01 matches the published counts and reports every kind of broken copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import (
    DamagedFile,
    IncompleteData,
    MissingFile,
    MissingKey,
    UnknownName,
    VireidError,
    WrongContent,
    WrongValue,
)
from vireid.plugins.datasets.sysu_mm01 import SYSUMM01


def make_tree(
    root: Path,
    cells: Mapping[int, Sequence[int]],
    train: Sequence[int] = (1,),
    val: Sequence[int] = (2,),
    test: Sequence[int] = (3,),
) -> Path:
    """Writes a tiny copy from identity -> cameras, with two (empty) images each."""
    for camera in range(1, 7):
        (root / f'cam{camera}').mkdir(parents=True)
    for identity, cameras in cells.items():
        for camera in cameras:
            folder = root / f'cam{camera}' / f'{identity:04d}'
            folder.mkdir()
            for number in (1, 2):
                (folder / f'{number:04d}.jpg').touch()
    (root / 'exp').mkdir()
    for name, identities in (('train', train), ('val', val), ('test', test)):
        (root / 'exp' / f'{name}_id.txt').write_text(','.join(map(str, identities)) + '\n')
    return root


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tree(tmp_path / 'sysu', {1: (1, 3), 2: (2, 6), 3: (4, 5, 6)})


def read(root: Path | str | None, split: str | None = None, **arguments: Any) -> None:
    reader = SYSUMM01(None if root is None else str(root), **arguments)
    if split:
        reader.split(split)


def refusal(kind: type[VireidError], root: Path | str | None, split: str | None = None, **arguments: Any) -> str:
    """Returns the text of the error that building (or reading `split`) must raise."""
    with pytest.raises(kind) as caught:
        read(root, split, **arguments)
    return str(caught.value)


def relative(samples: Sequence[Sample], root: Path) -> list[str]:
    return [str(Path(s.path).relative_to(root)) for s in samples]


def test_train_and_val_are_395_identities_with_22258_visible_and_11909_infrared_images(
    sysu_root: Path,
) -> None:
    samples = SYSUMM01(str(sysu_root)).split('train')
    assert len({s.identity for s in samples}) == 395
    assert Counter(s.modality for s in samples) == {VISIBLE: 22_258, INFRARED: 11_909}


def test_test_split_is_96_identities_with_3803_infrared_images(sysu_root: Path) -> None:
    samples = SYSUMM01(str(sysu_root)).split('test')
    identities = {s.identity for s in samples}
    assert (len(identities), min(identities), max(identities)) == (96, 6, 333)
    assert sum(s.modality == INFRARED for s in samples) == 3_803


@pytest.mark.parametrize(('lists', 'identities'), [(('train',), 296), (('val',), 99), (['val', 'train'], 395)])
def test_train_lists_choose_identities(sysu_root: Path, lists: Sequence[Any], identities: int) -> None:
    assert len({s.identity for s in SYSUMM01(str(sysu_root), lists).split('train')}) == identities


def test_the_99_validation_identities_are_a_split_too(sysu_root: Path) -> None:
    validation = SYSUMM01(str(sysu_root), train_lists=['train']).split('val')
    assert len({s.identity for s in validation}) == 99
    assert sum(s.modality == 'visible' for s in validation) == 1974
    assert sum(s.modality == 'infrared' for s in validation) == 1980


def test_every_identity_has_the_published_number_of_images_on_every_camera(sysu_root: Path, sysu: Any) -> None:
    reader = SYSUMM01(str(sysu_root))
    found = Counter((s.identity, s.camera) for part in ('train', 'test') for s in reader.split(part))
    expected = {
        (identity, camera): count
        for rows in sysu.counts.values()
        for identity, row in rows.items()
        for camera, count in enumerate(row, 1)
        if count
    }
    assert found == expected


def test_cameras_3_and_6_are_infrared_and_the_others_visible(sysu_root: Path) -> None:
    assert {(s.camera, s.modality) for s in SYSUMM01(str(sysu_root)).split('test')} == {
        (1, VISIBLE), (2, VISIBLE), (3, INFRARED), (4, VISIBLE), (5, VISIBLE), (6, INFRARED),
    }  # fmt: skip


@pytest.mark.parametrize('part', ['train', 'test'])
def test_samples_come_by_modality_identity_camera_and_path(sysu_root: Path, part: str) -> None:
    samples = SYSUMM01(str(sysu_root)).split(part)
    assert list(samples) == sorted(samples, key=lambda s: (s.modality == INFRARED, s.identity, s.camera, s.path))


def test_paths_are_those_of_the_files(tiny: Path) -> None:
    assert relative(SYSUMM01(str(tiny)).split('test'), tiny) == [
        'cam4/0003/0001.jpg', 'cam4/0003/0002.jpg', 'cam5/0003/0001.jpg', 'cam5/0003/0002.jpg',
        'cam6/0003/0001.jpg', 'cam6/0003/0002.jpg',
    ]  # fmt: skip


def test_reading_twice_gives_the_same_samples(tiny: Path) -> None:
    reader = SYSUMM01(str(tiny))
    assert reader.split('train') == reader.split('train') == SYSUMM01(str(tiny)).split('train')


def test_identities_in_no_list_are_not_read(tmp_path: Path) -> None:
    root = make_tree(tmp_path / 'sysu', {1: (1, 3), 2: (1, 3), 3: (1, 3), 77: (1, 3)})
    reader = SYSUMM01(str(root))
    assert {s.identity for part in ('train', 'test') for s in reader.split(part)} == {1, 2, 3}


def test_an_identity_without_a_folder_on_a_camera_is_read_from_the_others(tmp_path: Path) -> None:
    root = make_tree(tmp_path / 'sysu', {1: (1, 3), 2: (2, 6), 3: (1, 2, 4, 5, 6)})
    assert {s.camera for s in SYSUMM01(str(root)).split('test')} == {1, 2, 4, 5, 6}


def test_an_identity_with_an_empty_folder_on_a_camera_is_read_from_the_others(tiny: Path) -> None:
    (tiny / 'cam1' / '0003').mkdir()
    assert {s.camera for s in SYSUMM01(str(tiny)).split('test')} == {4, 5, 6}


@pytest.mark.parametrize(
    'stray', ['Thumbs.db', '.DS_Store', 'desktop.ini', '._0001.jpg', '.hidden.jpg', '0001.jpg.part', 'notes.txt']
)
def test_stray_files_change_nothing(tiny: Path, stray: str) -> None:
    before = SYSUMM01(str(tiny)).split('test')
    for folder in (tiny, tiny / 'exp', tiny / 'cam4', tiny / 'cam4' / '0003'):
        (folder / stray).write_bytes(b'stray')
    assert SYSUMM01(str(tiny)).split('test') == before


def test_a_file_where_a_identities_folder_would_be_is_a_stray_file(tiny: Path) -> None:
    before = SYSUMM01(str(tiny)).split('test')
    (tiny / 'cam1' / '0003').touch()
    assert SYSUMM01(str(tiny)).split('test') == before


def test_root_may_end_with_a_slash_be_relative_or_lie_under_folders_called_cam1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tmp_path / 'cam1' / '0003' / 'cam6'
    root = make_tree(parent / 'sysu', {1: (1, 3), 2: (2, 6), 3: (4, 5, 6)})
    plain = SYSUMM01(str(root)).split('test')
    assert {(s.identity, s.camera) for s in plain} == {(3, 4), (3, 5), (3, 6)}
    assert SYSUMM01(f'{root}/').split('test') == plain
    monkeypatch.chdir(parent)
    for given in ('sysu', 'sysu/', './sysu', '../cam6/sysu'):
        samples = SYSUMM01(given).split('test')
        assert [(s.identity, s.camera, Path(s.path).resolve()) for s in samples] == [
            (s.identity, s.camera, Path(s.path)) for s in plain
        ]


def test_a_tilde_in_the_root_is_the_home_folder(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tiny.parent))
    assert SYSUMM01('~/sysu').split('test') == SYSUMM01(str(tiny)).split('test')


def test_an_unknown_split_is_refused_with_the_known_ones(tiny: Path) -> None:
    text = refusal(UnknownName, tiny, split='gallery')
    assert "'gallery'" in text
    assert 'train, val, test' in text


def test_no_root_says_how_to_give_one_and_how_to_go_on_without_the_dataset() -> None:
    text = refusal(MissingKey, None)
    assert '--data-root' in text
    assert 'github.com/wuancong/SYSU-MM01' in text
    assert '--layout sysu' in text


def test_a_missing_root_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = refusal(MissingFile, 'nowhere')
    assert str(tmp_path / 'nowhere') in text
    assert 'cam1' in text
    assert '--layout sysu' in text


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'SYSU-MM01.zip').touch()
    assert str(tmp_path / 'SYSU-MM01.zip') in refusal(MissingFile, tmp_path / 'SYSU-MM01.zip')


def test_an_empty_root_is_refused(tmp_path: Path) -> None:
    text = refusal(MissingFile, tmp_path)
    assert str(tmp_path) in text


def test_a_root_one_folder_too_high_shows_what_it_holds(tiny: Path) -> None:
    assert ': sysu)' in refusal(MissingFile, tiny.parent)


@pytest.mark.parametrize(('gone', 'named'), [((1, 2, 4, 5), 'cam1/cam2/cam4/cam5'), ((3, 6), 'cam3/cam6')])
def test_a_modality_without_any_camera_folder_is_refused(tmp_path: Path, gone: tuple[int, ...], named: str) -> None:
    root = make_tree(tmp_path / 'sysu', {i: [c for c in range(1, 7) if c not in gone] for i in (1, 2, 3)})
    for camera in gone:
        (root / f'cam{camera}').rmdir()
    text = refusal(MissingFile, root, split='test')
    assert f' {named} (' in text.splitlines()[0]
    assert str(root) in text


def test_images_of_fewer_cameras_in_this_layout_are_read(tmp_path: Path) -> None:
    root = make_tree(tmp_path / 'sysu', {i: [1, 2, 3, 6] for i in (1, 2, 3)})
    for camera in (4, 5):
        (root / f'cam{camera}').rmdir()
    assert {s.camera for s in SYSUMM01(str(root)).split('test')} == {1, 2, 3, 6}


@pytest.mark.parametrize('name', ['train', 'val', 'test'])
def test_a_missing_id_list_is_named(tiny: Path, name: str) -> None:
    (tiny / 'exp' / f'{name}_id.txt').unlink()
    text = refusal(MissingFile, tiny)
    assert f' exp/{name}_id.txt (' in text
    assert str(tiny) in text


def test_an_id_list_that_is_not_used_may_be_missing(tiny: Path) -> None:
    (tiny / 'exp' / 'val_id.txt').unlink()
    assert {s.identity for s in SYSUMM01(str(tiny), ['train']).split('train')} == {1}


@pytest.mark.parametrize(
    ('content', 'fact'),
    [
        ('', ''),
        (' \n', ''),
        ('1,2,three', "'three'"),
        ('1;2', "'1;2'"),
        ('1,-2', "'-2'"),
        ('1,2.0', "'2.0'"),
        ('<html>404</html>', "'<html>404</html>'"),
        ('5,4,5', ' 5 '),
    ],
)
def test_a_garbled_id_list_is_named_with_what_is_wrong(tiny: Path, content: str, fact: str) -> None:
    path = tiny / 'exp' / 'train_id.txt'
    path.write_text(content)
    before, _, after = refusal(WrongContent, tiny).partition(str(path))
    assert after
    assert fact in before + after


def test_an_id_list_that_is_not_text_is_named(tiny: Path) -> None:
    path = tiny / 'exp' / 'train_id.txt'
    path.write_bytes(b'\xff\xfe1\x00')
    with pytest.raises(DamagedFile, match=str(path)) as caught:
        SYSUMM01(str(tiny))
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize('content', ['2,10,1', '2, 10, 1\n', '2,10,1,\r\n', '2\n10\n1\n'])
def test_id_lists_may_be_written_with_blanks_or_on_several_lines(tiny: Path, content: str) -> None:
    (tiny / 'exp' / 'train_id.txt').write_text(content)
    assert SYSUMM01(str(tiny), ['train']).identities['train'] == [1, 2, 10]


@pytest.mark.parametrize('name', ['train', 'val'])
def test_an_identity_in_training_and_test_is_refused(tiny: Path, name: str) -> None:
    (tiny / 'exp' / f'{name}_id.txt').write_text('3,9')
    text = refusal(WrongContent, tiny)
    assert '[3]' in text
    assert str(tiny / 'exp') in text


def test_a_listed_identity_without_images_is_named(tiny: Path) -> None:
    (tiny / 'exp' / 'test_id.txt').write_text('3,367')
    text = refusal(IncompleteData, tiny, split='test')
    assert ' 1 of 2 ' in text
    assert ' 0367' in text
    assert str(tiny) in text
    assert '`vireid data check`' in text


def test_no_train_list_at_all_is_refused(tiny: Path) -> None:
    assert 'train_lists' in refusal(WrongValue, tiny, split='train', train_lists=())


def test_a_set_with_nobody_to_validate_on_is_one_where_no_validation_is_asked_for(tiny: Path) -> None:
    (tiny / 'exp' / 'val_id.txt').write_text('')
    dataset = SYSUMM01(str(tiny))
    assert dataset.identities['train'] == [1]
    assert {s.identity for s in dataset.split('train')} == {1}
    with pytest.raises(WrongContent, match=r'val_id\.txt'):
        dataset.split('val')
    with pytest.raises(WrongContent, match=r'val_id\.txt'):
        SYSUMM01(str(tiny), ['val'])
