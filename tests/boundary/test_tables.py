"""Tables as spreadsheets save them, and tables that are small files of too many cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.boundary.malformed import Malformed
from vireid.boundary.tables import ROWS, read_csv
from vireid.errors import UnsafeFile, VireidError, WrongContent

TEXT = 'path,camera,note\na.jpg,1,x\nb.jpg,2,y\n'
RESULT = [{'path': 'a.jpg', 'camera': '1'}, {'path': 'b.jpg', 'camera': '2'}]


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / 'a.csv'
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ('content', 'lines'),
    [
        (TEXT, [2, 3]),
        ('\ufeff' + TEXT.replace('\n', '\r\n'), [2, 3]),
        (TEXT.replace('\n', '\r'), [2, 3]),
        ('sep=,\n' + TEXT, [3, 4]),
        ('\ufeffSEP=;\r\n' + TEXT.replace(',', ';').replace('\n', '\r\n'), [3, 4]),
        ('"sep=|"\n' + TEXT.replace(',', '|'), [3, 4]),
        (TEXT.replace(',', '\t').encode('utf-16'), [2, 3]),
        (('\ufeff' + TEXT).encode('utf-16-be'), [2, 3]),
        (TEXT.replace('path', ' Path').replace('camera', 'CAMERA '), [2, 3]),
        ('\n' + TEXT.replace('\n', '\n\n'), [4, 6]),
        (TEXT.replace('\n', ',\n'), [2, 3]),
    ],
)
def test_a_table_is_read_however_a_spreadsheet_saved_it(tmp_path: Path, content: str | bytes, lines: list[int]) -> None:
    columns, rows = read_csv(written(tmp_path, content))
    assert columns[:3] == ['path', 'camera', 'note']
    assert rows == list(zip(lines, RESULT, strict=True))


def test_capitals_are_another_column_beside_the_exact_name(tmp_path: Path) -> None:
    columns, rows = read_csv(written(tmp_path, 'Camera,path,camera\nnorth,a.jpg,1\n,b.jpg\n'))
    assert columns == ['Camera', 'path', 'camera']
    assert rows == [(2, RESULT[0]), (3, {'path': 'b.jpg', 'camera': None})]


@pytest.mark.parametrize(
    ('content', 'kind', 'fact'),
    [
        ('path,time,time\n', WrongContent, r"\b2 .*'time'"),
        ('path,Time, TIME\n', WrongContent, r"\b2 .*'time'"),
        ('# made by bob\n' + TEXT, WrongContent, "'# made by bob'"),
        (','.join('x' * 10_001) + '\n', UnsafeFile, r'\b10,001\b.*\b10,000\b'),
        ('path\n' + '1\n' * (ROWS + 1), UnsafeFile, rf'\b{ROWS + 2:,}\b.*\b{ROWS:,}\b'),
    ],
)
def test_an_invalid_table_is_refused(tmp_path: Path, content: str, kind: type[VireidError], fact: str) -> None:
    with pytest.raises(kind, match=rf'(?s)a\.csv.*{fact}'):
        read_csv(written(tmp_path, content))


def test_a_comment_in_the_header_is_a_column(tmp_path: Path) -> None:
    assert read_csv(written(tmp_path, '#,path\n1,a.jpg\n')) == (['#', 'path'], [(2, {'path': 'a.jpg'})])


def test_columns_without_cells_take_no_memory(tmp_path: Path) -> None:
    header = ','.join(['path', *(f'c{number}' for number in range(9_000))])
    _, rows = read_csv(written(tmp_path, f'{header}\n' + '1\n' * 1_000))
    assert [row for _, row in rows] == [{'path': '1'}] * 1_000


@pytest.mark.parametrize(
    ('content', 'kind'),
    [(b'\xff\xfe\x00', UnicodeDecodeError), (b'path\n\x00', Malformed), ('path'.encode('utf-32'), Malformed)],
)
def test_bytes_that_are_not_a_table_are_refused(tmp_path: Path, content: bytes, kind: type[ValueError]) -> None:
    with pytest.raises(kind):
        read_csv(written(tmp_path, content))
