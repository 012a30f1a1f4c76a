"""RegDB: ten splits of 412 identities, and broken index files."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import DamagedFile, MissingFile, MissingKey, UnknownName, VireidError, WrongContent, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.datasets.index_file import read_index
from vireid.plugins.datasets.regdb import RegDB

SPLITS = range(1, 11)


@pytest.fixture
def copy(regdb_root: Path, tmp_path: Path) -> Path:
    """A copy whose index files may be modified."""
    return Path(shutil.copytree(regdb_root, tmp_path / 'regdb'))


def read(root: Path | None, part: str | None = None, **arguments: Any) -> None:
    reader = RegDB(None if root is None else str(root), **arguments)
    if part:
        reader.split(part)


def refusal(kind: type[VireidError], root: Path | None, part: str | None = None, **arguments: Any) -> str:
    """Returns the text of the error that building (or reading `part`) must raise."""
    with pytest.raises(kind) as caught:
        read(root, part, **arguments)
    return str(caught.value)


def people(samples: tuple[Sample, ...]) -> set[str]:
    """Returns the identity folders, which, unlike labels, are the same in every index file."""
    return {Path(s.path).parent.name for s in samples}


@pytest.mark.parametrize('part', ['train', 'test'])
@pytest.mark.parametrize('split', SPLITS)
def test_each_half_of_each_split_has_206_identities_and_2060_images_of_each_modality(
    regdb_root: Path, split: int, part: str
) -> None:
    samples = RegDB(str(regdb_root), split).split(part)
    assert Counter(s.modality for s in samples) == {VISIBLE: 2_060, INFRARED: 2_060}
    for modality in (VISIBLE, INFRARED):
        per_identity = Counter(s.identity for s in samples if s.modality == modality)
        assert per_identity == dict.fromkeys(range(206), 10)


@pytest.mark.parametrize('split', SPLITS)
def test_training_and_test_share_no_identity(regdb_root: Path, split: int) -> None:
    reader = RegDB(str(regdb_root), split)
    train, test = people(reader.split('train')), people(reader.split('test'))
    assert not train & test
    assert len(train | test) == 412


def test_the_ten_are_different_splits(regdb_root: Path) -> None:
    assert len({frozenset(people(RegDB(str(regdb_root), split).split('train'))) for split in SPLITS}) == 10


def test_samples_keep_the_order_of_the_index_visible_first(regdb_root: Path) -> None:
    lines = [
        line
        for name in ('visible', 'thermal')
        for line in (regdb_root / f'idx/test_{name}_3.txt').read_text().splitlines()
    ]
    samples = RegDB(str(regdb_root), 3).split('test')
    assert [f'{Path(s.path).relative_to(regdb_root)} {s.identity}' for s in samples] == lines


def test_camera_1_is_visible_and_camera_2_thermal(regdb_root: Path) -> None:
    samples = RegDB(str(regdb_root)).split('train')
    assert {(s.camera, s.modality, Path(s.path).parts[-3]) for s in samples} == {
        (1, VISIBLE, 'Visible'),
        (2, INFRARED, 'Thermal'),
    }


def test_split_name_says_which_split_a_model_belongs_to(regdb_root: Path) -> None:
    assert [RegDB(str(regdb_root), split).split_name for split in (1, 10)] == ['split 1', 'split 10']


def test_split_1_is_read_unless_another_is_asked_for(regdb_root: Path) -> None:
    assert RegDB(str(regdb_root)).split('test') == RegDB(str(regdb_root), 1).split('test')


def test_root_may_end_with_a_slash(regdb_root: Path) -> None:
    assert RegDB(f'{regdb_root}/').split('test') == RegDB(str(regdb_root)).split('test')


def test_windows_line_ends_blank_lines_and_blanks_in_names_are_read(copy: Path) -> None:
    (copy / 'idx/test_visible_1.txt').write_bytes(b'Visible/900/a b.bmp 0\r\n\r\nVisible/900/c.bmp 0\r\n')
    samples = [s for s in RegDB(str(copy)).split('test') if s.modality == VISIBLE]
    assert [Path(s.path).relative_to(copy) for s in samples] == [Path('Visible/900/a b.bmp'), Path('Visible/900/c.bmp')]


@pytest.mark.parametrize('split', [0, 11, -1])
def test_a_split_outside_1_to_10_is_refused(regdb_root: Path, split: int) -> None:
    config = {'type': 'RegDB', 'root': str(regdb_root), 'split': split}
    with pytest.raises(WrongValue, match=f'split is {split} '):
        create_manager().components.build('datasets', config, where='dataset')


def test_an_unknown_split_is_refused_with_the_known_ones(regdb_root: Path) -> None:
    text = refusal(UnknownName, regdb_root, 'val')
    assert "'val'" in text
    assert 'train, test' in text


def test_no_root_says_how_to_give_one_and_how_to_go_on_without_the_dataset() -> None:
    text = refusal(MissingKey, None)
    assert '--data-root' in text
    assert 'DBPerson-Recog-DB1' in text
    assert '--layout regdb' in text


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / 'nowhere') in refusal(MissingFile, tmp_path / 'nowhere')


@pytest.mark.parametrize('name', ['Visible', 'Thermal'])
def test_a_missing_modality_folder_is_named(copy: Path, name: str) -> None:
    shutil.rmtree(copy / name)
    assert f' {name} (' in refusal(MissingFile, copy)


@pytest.mark.parametrize('part', ['train', 'test'])
@pytest.mark.parametrize('name', ['visible', 'thermal'])
def test_a_missing_index_of_the_split_is_named_and_of_another_is_not_needed(copy: Path, part: str, name: str) -> None:
    (copy / f'idx/{part}_{name}_7.txt').unlink()
    assert f' idx/{part}_{name}_7.txt (' in refusal(MissingFile, copy, split=7)
    assert len(RegDB(str(copy), 6).split(part)) == 4_120


@pytest.mark.parametrize(
    'line',
    [
        'Visible/1/a.bmp',
        'Visible/1/a.bmp one',
        'Visible/1/a.bmp -1',
        'Visible/1/a.bmp 1.0',
        'Visible/1/a.bmp \u00b2',
        '17',
        'Visible/1/a.bmp,0',
    ],
)
def test_a_malformed_line_is_named_with_its_number_and_text(copy: Path, line: str) -> None:
    index = copy / 'idx/test_visible_1.txt'
    index.write_text(f'Visible/1/z.bmp 0\n{line}\n', encoding='utf-8')
    assert f'{index}, line 2: {line!r}' in refusal(WrongContent, copy, 'test')


def test_an_image_listed_twice_is_named_with_both_lines(copy: Path) -> None:
    index = copy / 'idx/train_thermal_1.txt'
    index.write_text('Thermal/1/a.bmp 0\nThermal/1/b.bmp 0\nThermal/1/a.bmp 1\n')
    text = refusal(WrongContent, copy, 'train')
    assert f'{index}, line 3' in text
    assert 'line 1' in text
    assert 'Thermal/1/a.bmp' in text


@pytest.mark.parametrize('content', [b'', b'\n \n'])
def test_an_empty_index_is_named(copy: Path, content: bytes) -> None:
    index = copy / 'idx/train_visible_1.txt'
    index.write_bytes(content)
    assert f'index {index} ' in refusal(WrongContent, copy, 'train')


def test_an_index_that_is_no_text_is_named(copy: Path) -> None:
    index = copy / 'idx/train_visible_1.txt'
    index.write_bytes(b'\xff\xfe\x00V')
    with pytest.raises(DamagedFile, match=str(index)) as caught:
        RegDB(str(copy)).split('train')
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_identity_in_the_training_and_the_test_list_is_named(copy: Path) -> None:
    train, test = (copy / f'idx/{part}_visible_1.txt' for part in ('train', 'test'))
    lines = train.read_text().splitlines(keepends=True)
    train.write_text(''.join(lines[1:]))
    test.write_text(test.read_text() + lines[0])  # moved, so no image is in both
    person = lines[0].split('/')[1]
    for split in ('train', 'test'):
        with pytest.raises(WrongContent, match=f'{copy}/idx: .* {person} .* 1\n'):
            RegDB(str(copy)).split(split)


@pytest.mark.parametrize('swapped', [True, False])
def test_a_list_of_the_other_modality_is_refused(copy: Path, swapped: bool) -> None:
    # the list determines the stream of an image; if swapped, all metrics would be of the wrong stream
    visible, thermal = (copy / f'idx/test_{name}_1.txt' for name in ('visible', 'thermal'))
    before = visible.read_text()
    visible.write_text(thermal.read_text())
    if swapped:
        thermal.write_text(before)
    with pytest.raises(WrongContent, match=r'test_visible_1\.txt names Thermal/'):
        RegDB(str(copy)).split('test')


@pytest.mark.parametrize(
    'text',
    [
        '\ufeffVisible/1/a.bmp 0\r\nVisible/2/b.bmp 1\r\n',
        'Visible/1/a.bmp\t0  \n\n./Visible//2/./b.bmp  1\t\n',
    ],
    ids=['as Windows editors save it', 'tabs, blanks and dots'],
)
def test_a_list_is_read_however_it_was_saved(tmp_path, text):
    (tmp_path / 'x.txt').write_bytes(text.encode())
    assert read_index(tmp_path / 'x.txt') == [('Visible/1/a.bmp', 0), ('Visible/2/b.bmp', 1)]


def test_one_image_in_two_spellings_is_listed_twice(tmp_path):
    (tmp_path / 'x.txt').write_text('Visible/1/a.bmp 0\n./Visible/1/a.bmp 0\n')
    with pytest.raises(WrongContent, match=r'line 2: Visible/1/a\.bmp .* line 1'):
        read_index(tmp_path / 'x.txt')
