"""Your own images listed in a table."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import (
    DamagedFile,
    MissingFile,
    MissingKey,
    TooFew,
    UnknownName,
    UnsafeFile,
    VireidError,
    WrongContent,
    WrongValue,
)
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.datasets.manifest import Manifest

HEADER = 'path,identity,camera,modality,split\n'
ROWS = 'b.jpg,7,3,infrared,test\na.jpg,7,1,visible,test\nc.jpg,9,1,visible,train\nd.jpg,9,4,infrared,train\n'


def table(folder: Path, text: str) -> str:
    (folder / 'manifest.csv').write_text(text, encoding='utf-8')
    return str(folder)


def test_rows_become_samples_visible_first(tmp_path: Path) -> None:
    for given in (table(tmp_path, HEADER + ROWS), str(tmp_path / 'manifest.csv')):
        assert Manifest(given).split('test') == (
            Sample(str(tmp_path / 'a.jpg'), 7, 1, VISIBLE),
            Sample(str(tmp_path / 'b.jpg'), 7, 3, INFRARED),
        )


def test_identities_may_have_names_and_columns_may_be_more_and_in_any_order(tmp_path: Path) -> None:
    text = '\ufeffsplit,note,identity,path,modality,camera\n'
    text += 'test,x,"Smith, Bo",/far/a.jpg,visible,0\ntest,,Ann,b.jpg,infrared,2\n'
    first, second = Manifest(table(tmp_path, text)).split('test')
    assert (first.identity, second.identity) == (2, 1)  # Ann, then Smith
    assert first.path == '/far/a.jpg'


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow.parquet import write_table

    table(tmp_path, HEADER + ROWS)
    columns = dict(zip(HEADER.strip().split(','), zip(*(r.split(',') for r in ROWS.split()), strict=True), strict=True))
    numbers = {**columns, 'identity': [int(i) for i in columns['identity']], 'camera': [3, 1, 1, 4]}
    write_table(pyarrow.table({k: list(v) for k, v in numbers.items()}), tmp_path / 'm.parquet')
    assert Manifest(str(tmp_path), 'm.parquet').split('train') == Manifest(str(tmp_path)).split('train')


@pytest.mark.parametrize(
    ('text', 'kind', 'facts'),
    [
        ('', MissingKey, ["'path'"]),
        ('path,identity,camera,modality,splitt\n', MissingKey, ["'split'", "'splitt'"]),
        (HEADER + 'a.jpg,7,1,visibel,test\n', WrongContent, ['line 2:', "'visibel'", "'visible'"]),
        (HEADER + 'a.jpg,7,one,visible,test\n', WrongContent, ['line 2: camera ', " 'one'"]),
        (HEADER + 'a.jpg,7,1,visible,test\na.jpg,7,1,visible,test\n', WrongContent, ['line 3: a.jpg ', ' line 2']),
        (HEADER + ',7,1,visible,test\n', WrongContent, ['line 2: path ']),
        (HEADER + 'a.jpg,nan,1,visible,test\n', WrongContent, ['line 2: identity ', "'nan'"]),
        (HEADER + 'a.jpg,#N/A,1,visible,test\n', WrongContent, ['line 2: identity ', "'#N/A'"]),
        (
            HEADER + 'a.jpg,-1,1,visible,test\nb.jpg,Unknown,1,visible,test\nc.jpg,-1,1,visible,test\n',
            WrongContent,
            ['lines 2, 4: identity ', "'-1'", 'line 3: identity ', "'Unknown'"],
        ),
        (
            HEADER + 'a.jpg,2.02611E+15,1,visible,test\nb.jpg,"2,02612E+15",1,visible,test\n',
            WrongContent,
            ['line 2: identity ', "'2.02611E+15'", 'line 3: identity ', "'2,02612E+15'"],
        ),
        (HEADER + 'a.jpg,7,1,visible,nan\n', WrongContent, ['line 2: split ']),
        (HEADER + 'a.jpg,7,1\n', WrongContent, ['line 2: modality ']),
        (
            HEADER + 'a.jpg,7,1,visible,test\nb.jpg,7,1,visible,\n',
            WrongContent,
            ['line 3: split ', ' 1 ', ' 2)', '`vireid data split '],
        ),
        (HEADER + '\n\na.jpg,7,one,visible,test\n', WrongContent, ['line 4: camera ', "'one'"]),
        (
            HEADER + 'a.jpg,7,one,visible,test\nb.jpg,7,1,red,test\n,7,1,visible,test\n',
            WrongContent,
            ['line 2: camera ', "'one'", 'line 3: modality ', "'red'", 'line 4: path '],
        ),
        (HEADER + 'a.jpg,7,99999999999999999999,visible,test\n', WrongContent, ['camera ', "'99999999999999999999'"]),
        (
            HEADER + 'a.jpg,ann,1,visible,train\nb.jpg,bob,1,visible,test\nc.jpg,ann,2,infrared,test\n',
            WrongContent,
            [' 1 ', ' train ', ' test: ann\n'],
        ),
        (HEADER + 'a.jpg,7,1,visible,val\nc.jpg,7,2,infrared,test\n', WrongContent, [' 1 ', ' val ', ' test: 7\n']),
        (HEADER + 'a.jpg,7,1,visible,val\n', UnknownName, ["'test'", 'allowed: val']),
        (HEADER + 'a.jpg,7,1,visible,test\n', TooFew, ["'test'", ' infrared ']),
    ],
)
def test_errors_in_a_table_name_the_line(tmp_path: Path, text: str, kind: type[VireidError], facts: list[str]) -> None:
    with pytest.raises(VireidError) as caught:
        Manifest(table(tmp_path, text)).split('test')
    assert {type(error) for error in caught.value.errors or (caught.value,)} == {kind}
    for fact in facts:
        assert fact in str(caught.value)


def test_one_mistake_in_all_lines_is_one_error(tmp_path: Path) -> None:
    text = HEADER + ''.join(f'{n}.jpg,7,C{n % 5},{"visible" if n % 2 else "red"},test\n' for n in range(1, 65))
    with pytest.raises(VireidError) as caught:
        Manifest(table(tmp_path, text))
    camera, modality = caught.value.errors
    assert type(camera) is type(modality) is WrongContent
    for fact in ('lines 2, 12, 22 and 4 ', "'C1'", 'lines 4, 14, 24 and 4 ', "'C3'", 'and 12 '):
        assert fact in camera.given
    for fact in ('lines 3, 5, 7 and 29 ', "'red'"):
        assert fact in modality.given


@pytest.mark.parametrize(
    ('split', 'meant'),
    [('trian', 'train'), ('Training', 'train'), ('validation', 'val'), ('valid', 'val'), ('tets', 'test')],
)
def test_a_misspelled_split_drops_no_images(tmp_path: Path, split: str, meant: str) -> None:
    rows = people(4) + f'b.jpg,9,1,visible,{split}\na.jpg,9,2,infrared,{split}\n'
    data = Manifest(table(tmp_path, HEADER + rows))
    assert data.split_error is not None  # data check shows it
    with pytest.raises(WrongContent, match=rf"lines 18, 19: split .*'{split}'.*'{meant}'"):
        data.split('train')
    assert len(Manifest(str(tmp_path), folds=2).samples) == 18  # passes over the splits


@pytest.mark.parametrize('split', ['test2', 'test-night', 'rest', 'pretrain', 'night', 'unmatched'])
def test_a_split_of_another_name_is_counted(tmp_path: Path, split: str) -> None:
    text = HEADER + people(4) + f'b.jpg,9,1,visible,{split}\na.jpg,9,2,infrared,{split}\n'
    data = Manifest(table(tmp_path, text))
    assert (len(data.split('train')), len(data.split(split))) == (16, 2)
    told = f'neither trained nor tested on are the images of the split {split!r} (2 images)'
    assert list(data.passed_over) == ([told] if split != 'unmatched' else [])  # which `vireid data split` writes
    assert not Manifest(str(tmp_path), folds=2).passed_over


def test_a_column_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongContent, match=r" 2 .*'split'"):
        Manifest(table(tmp_path, HEADER.strip() + ',split\na.jpg,7,1,visible,train,test\n'))


def test_a_parquet_table_of_few_bytes_and_many_cells_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow.parquet import write_table

    def written(rows: int, **columns: Any) -> str:
        one = {'path': 'a.jpg', 'identity': '7', 'camera': '1', 'modality': 'visible', 'split': 'test'} | columns
        places = pyarrow.array(bytes(rows), pyarrow.int8())
        cells = {name: pyarrow.DictionaryArray.from_arrays(places, [cell]) for name, cell in one.items()}
        write_table(pyarrow.table(cells), tmp_path / 'm.parquet')
        return str(tmp_path)

    with pytest.raises(UnsafeFile, match=' 1,000,002 '):
        Manifest(written(1_000_002), 'm.parquet')
    with pytest.raises(WrongContent, match=r'lines 2, 3, 4 and 996 .* a\.jpg .* line 1'):
        Manifest(written(1_000, note='x' * 1_000_000), 'm.parquet')  # a column that is not read
    monkeypatch.setattr('vireid.plugins.datasets.manifest.ARRAYS', 100_000)
    with pytest.raises(UnsafeFile, match=r'm\.parquet'):
        Manifest(written(1, path='x' * 100_000), 'm.parquet')
    with pytest.raises(UnsafeFile, match=r'm\.parquet'):
        Manifest(written(1_000, path='x' * 200), 'm.parquet')  # stored once


def test_a_column_of_lists_is_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow.parquet import write_table

    columns = {'path': ['a.jpg'], 'identity': ['7'], 'camera': [[1, 2]], 'modality': ['visible']}
    write_table(pyarrow.table(columns), tmp_path / 'm.parquet')
    with pytest.raises(WrongContent, match=r"'camera' .* list<"):
        Manifest(str(tmp_path), 'm.parquet')


def test_missing_cells_of_a_parquet_table_are_no_person(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow.parquet import write_table

    columns = {'path': ['a.jpg', 'b.jpg', 'c.jpg'], 'camera': [1] * 3, 'modality': ['visible'] * 3}
    for missing in (float('nan'), None):
        write_table(pyarrow.table({'identity': [7.0, missing, missing], **columns}), tmp_path / 'm.parquet')
        with pytest.raises(WrongContent, match=r'lines 2, 3: .*identity '):
            Manifest(str(tmp_path), 'm.parquet')


def test_a_parquet_table_alone_is_found_and_may_hold_whole_numbers_as_floats(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow.parquet import write_table

    columns = {
        'path': ['a.jpg', 'b.jpg'],
        'identity': ['x', 'x'],
        'camera': [1.0, 2.0],
        'modality': ['visible', 'infrared'],
        'split': ['test', 'test'],
    }
    write_table(pyarrow.table(columns), tmp_path / 'manifest.parquet')
    assert [s.camera for s in Manifest(f'{tmp_path}/').split('test')] == [1, 2]


def test_identities_too_large_for_a_number_are_names(tmp_path: Path) -> None:
    large = '1' + '0' * 20
    table(tmp_path, HEADER + f'a.jpg,{large},1,visible,test\nb.jpg,{large},1,infrared,test\n')
    assert {s.identity for s in Manifest(str(tmp_path)).split('test')} == {1}


def test_a_missing_or_binary_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'manifest.csv'
    with pytest.raises(MissingFile, match=str(path)) as caught:
        Manifest(str(tmp_path))
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DamagedFile, match=str(path)) as caught:
        Manifest(str(tmp_path))
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(MissingKey, match='--data-root'):
        Manifest()


def people(count: int, split: str = 'train') -> str:
    """The rows of some identities, each with two images in both modalities."""
    return ''.join(
        f'{n}{letter}.jpg,{n},{camera},{modality},{split}\n'
        for n in range(1, count + 1)
        for camera, modality in ((1, 'visible'), (2, 'infrared'))
        for letter in (f'{modality[0]}a', f'{modality[0]}b')
    )


def members(data: Manifest, split: str) -> set[int]:
    return {s.identity for s in data.split(split)}


def test_folds_need_no_split_and_pass_over_one(tmp_path: Path) -> None:
    without = '\n'.join(line.rpartition(',')[0] for line in (HEADER + people(10)).splitlines())
    for text in (without, HEADER + people(10), HEADER + people(10, '')):
        root = table(tmp_path, text)
        tested = [sorted(members(Manifest(root, folds=5, fold=fold), 'test')) for fold in range(1, 6)]
        assert sorted(identity for fold in tested for identity in fold) == list(range(1, 11))
        assert {len(fold) for fold in tested} == {2}
    assert members(Manifest(root, folds=5, fold=2), 'train') == set(range(1, 11)) - set(tested[1])
    assert tested != [sorted(members(Manifest(root, folds=5, fold=f, seed=1), 'test')) for f in range(1, 6)]
    assert Manifest(root, folds=5, fold=2, seed=1).split_name == 'fold 2 of 5, seed 1'


def test_a_share_of_the_training_people_validates_unless_the_table_says_who(tmp_path: Path) -> None:
    data = Manifest(table(tmp_path, HEADER + people(10)), val_share=0.3)
    assert len(members(data, 'val')) == 3
    assert members(data, 'val') | members(data, 'train') == set(range(1, 11))
    assert members(data, 'val').isdisjoint(members(data, 'train'))
    (tmp_path / 'manifest.csv').write_text(HEADER + people(4) + 'v.jpg,11,1,visible,val\ni.jpg,11,2,infrared,val\n')
    assert members(Manifest(str(tmp_path), val_share=0.5), 'val') == {11}


def test_fewer_training_people_of_one_draw_are_among_more(tmp_path: Path) -> None:
    root = table(tmp_path, HEADER + people(12) + 't.jpg,20,1,visible,test\nu.jpg,20,2,infrared,test\n')
    for draw in (0, 1):
        kept = [members(Manifest(root, identities=count, draw=draw), 'train') for count in range(2, 13)]
        assert [len(some) for some in kept] == list(range(2, 13))
        assert all(fewer < more for fewer, more in pairwise(kept))
        assert members(Manifest(root, identities=4, draw=draw), 'test') == {20}
    first, second = (members(Manifest(root, identities=6, draw=draw), 'train') for draw in (0, 1))
    assert first != second


def test_a_table_without_splits_holds_its_samples_all_the_same(tmp_path: Path) -> None:
    data = Manifest(table(tmp_path, 'path,identity,camera,modality,bbox\na.jpg,ann,1,visible,0 0 9 9\n'))
    assert [s.path for s in data.samples] == [str(tmp_path / 'a.jpg')]
    assert data.names == {1: 'ann'}
    assert data.other_columns == ('bbox',)
    assert list(data.parts) == ['']


@pytest.mark.parametrize(
    ('given', 'kind', 'facts'),
    [
        ({'folds': 1}, WrongValue, ['folds is 1 ']),
        ({'folds': 5, 'fold': 6}, WrongValue, ['fold is 6', '1 to 5']),
        ({'folds': 5, 'fold': 0}, WrongValue, ['fold is 0', '1 to 5']),
        ({'folds': 5}, TooFew, [' 6 ', ' 5 folds', ' 10 ', 'folds to 3 ']),
        ({'fold': 2}, MissingKey, ['fold ', ' 2,', 'dataset.folds=5']),
        ({'seed': 2}, MissingKey, ['seed ', ' 2,', 'folds or val_share']),
        ({'draw': 2}, MissingKey, ['draw ', ' 2,', ' identities']),
        ({'folds': 2, 'seed': -1}, WrongValue, ['seed is -1 ']),
        ({'identities': 2, 'draw': -1}, WrongValue, ['draw is -1 ']),
        ({'val_share': 1.0}, WrongValue, ['val_share is 1.0 ']),
        ({'val_share': 0.9}, TooFew, ['val_share ', ' 0.9,', ' 1 of 6 ']),
        ({'identities': 7}, WrongValue, ['identities ', ' 7,', ' 6 ', '2 to 6']),
        ({'identities': 1}, WrongValue, ['identities ', ' 1,']),
    ],
)
def test_an_argument_out_of_range_or_of_no_effect_is_named(
    tmp_path: Path, given: dict[str, Any], kind: type[VireidError], facts: list[str]
) -> None:
    config = {'type': 'Manifest', 'root': table(tmp_path, HEADER + people(6)), **given}
    with pytest.raises(kind) as caught:
        create_manager().components.build('datasets', config, where='dataset')
    for fact in facts:
        assert fact in str(caught.value)


def test_the_registry_builds_a_fold(tmp_path: Path) -> None:
    config = {
        'type': 'Manifest',
        'root': table(tmp_path, HEADER + people(6)),
        'folds': 3,
        'fold': 3,
        'val_share': 0.25,
    }
    data = create_manager().components.build('datasets', config, where='dataset')
    assert [len(members(data, part)) for part in ('train', 'val', 'test')] == [2, 2, 2]


@pytest.mark.parametrize('delimiter', [',', ';', '\t'])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_a_table_is_read_as_spreadsheets_of_all_countries_write_it(tmp_path: Path, delimiter: str, end: str) -> None:
    text = '\ufeff' + (HEADER + ROWS).replace(',', delimiter).replace('\n', end)
    assert Manifest(table(tmp_path, text)).samples == Manifest(table(tmp_path, HEADER + ROWS)).samples


def test_blanks_at_the_ends_of_cells_are_no_part_of_them(tmp_path: Path) -> None:
    blanks = HEADER.replace(',', ' , ') + '\n'.join(row.replace(',', ' ,  ') + ' ' for row in ROWS.splitlines())
    for name in 'abcd':
        (tmp_path / f'{name}.jpg').touch()
    assert Manifest(table(tmp_path, blanks)).samples == Manifest(table(tmp_path, HEADER + ROWS)).samples


def test_half_of_the_rows_with_a_blank_make_no_other_people(tmp_path: Path) -> None:
    rows = ROWS.replace('7,3', '7 ,3').replace('9,4', '9 ,4')
    data = Manifest(table(tmp_path, HEADER + rows))
    assert data.names == {7: '7', 9: '9'}
    assert {s.name for s in data.samples} == {'7', '9'}


def test_one_image_in_two_spellings_of_its_path_is_listed_twice(tmp_path: Path) -> None:
    with pytest.raises(WrongContent, match=r'line 6: \./a\.jpg .* line 3'):
        Manifest(table(tmp_path, HEADER + ROWS + './a.jpg,7,1,visible,test\n'))


@pytest.mark.parametrize('root', ['', '.', 'data/..'])
def test_one_image_by_two_ways_is_listed_twice(tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    for other in (tmp_path / 'a.jpg', 'x/../a.jpg', f'../{tmp_path.name}/a.jpg'):
        table(tmp_path, HEADER + ROWS + f'{other},7,1,visible,test\n')
        with pytest.raises(WrongContent, match=r'line 6: .*a\.jpg .* line 3'):
            Manifest(root or str(tmp_path))


@pytest.mark.parametrize('cell', ['cam3', 'Camera_3', '3.0', ' 3'])
def test_cameras_may_be_named(tmp_path: Path, cell: str) -> None:
    assert Manifest(table(tmp_path, HEADER + ROWS.replace('7,3', f'7,{cell}'))).split('test')[1].camera == 3


def test_usual_words_in_capitals_are_the_same_words(tmp_path: Path) -> None:
    rows = ROWS.replace('visible', 'Visible').replace('test', 'Test').replace('train', 'TRAIN')
    assert Manifest(table(tmp_path, HEADER + rows)).split('train') == Manifest(table(tmp_path, HEADER + ROWS)).split(
        'train'
    )


def test_zeros_and_floats_that_differ_are_refused_with_both(tmp_path: Path) -> None:
    data = Manifest(table(tmp_path, HEADER + ROWS.replace('b.jpg,7', 'b.jpg,0007').replace('d.jpg,9', 'd.jpg,9.0')))
    with pytest.raises(WrongContent, match=r" 2 .*: '0007' and '7'; '9' and '9\.0'"):
        data.split('test')
