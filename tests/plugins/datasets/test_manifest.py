"""One's own images from a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Sample
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
    ('text', 'texts'),
    [
        ('', ["has no column 'path'"]),
        ('path,identity,camera,modality,splitt\n', ["no column 'split'", "did you mean 'splitt'?"]),
        (HEADER + 'a.jpg,7,1,visibel,test\n', ['line 2', "'visibel', did you mean 'visible'?"]),
        (HEADER + 'a.jpg,7,one,visible,test\n', ["line 2: camera is 'one'"]),
        (HEADER + 'a.jpg,7,1,visible,test\na.jpg,7,1,visible,test\n', ['line 3: a.jpg is also in line 2']),
        (HEADER + ',7,1,visible,test\n', ['line 2: path, identity or split is empty']),
        (HEADER + 'a.jpg,7,1\n', ['line 2']),
        (HEADER + '\n\na.jpg,7,one,visible,test\n', ["line 4: camera is 'one'"]),
        (HEADER + 'a.jpg,7,99999999999999999999,visible,test\n', ['0 to 999999999']),
        (
            HEADER + 'a.jpg,ann,1,visible,train\nb.jpg,bob,1,visible,test\nc.jpg,ann,2,infrared,test\n',
            ['1 identities are in train and in test: ann', 'keep each person in one split'],
        ),
        (HEADER + 'a.jpg,7,1,visible,val\nc.jpg,7,2,infrared,test\n', ['are in val and in test: 7']),
        (HEADER + 'a.jpg,7,1,visible,val\n', ["no split 'test'", 'allowed: val']),
        (HEADER + 'a.jpg,7,1,visible,test\n', ["the split 'test' has no infrared image"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, texts: list[str]) -> None:
    with pytest.raises(VireidError) as caught:
        Manifest(table(tmp_path, text)).split('test')
    for wanted in texts:
        assert wanted in str(caught.value)


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
    with pytest.raises(VireidError, match='cannot be read'):
        Manifest(str(tmp_path))
    (tmp_path / 'manifest.csv').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(VireidError, match='cannot be read'):
        Manifest(str(tmp_path))
    with pytest.raises(VireidError, match='give --data-root'):
        Manifest()
