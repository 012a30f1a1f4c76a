"""`vireid data split`: a table of one's own images with a split for each person."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from vireid.cli import main
from vireid.plugins.datasets.manifest import Manifest


def add(folder: Path, name: str, images: int = 2, modalities: tuple[str, ...] = ('visible', 'infrared')) -> None:
    for modality in modalities:
        (folder / modality / name).mkdir(parents=True)
        for shot in range(images):
            Image.new('RGB', (4, 8), (shot, 0, 0)).save(folder / modality / name / f'{shot}.png')


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Eight people with two images of each modality."""
    for name in ('anna', 'bert', 'carl', 'dora', 'emil', 'fred', 'gina', 'hans'):
        add(tmp_path / 'mine', name)
    return tmp_path / 'mine'


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def split_of(path: Path) -> dict[str, str]:
    return {row['identity']: row['split'] for row in read(path)}


def test_folders_become_a_table_that_the_reader_reads(mine, capsys):
    assert main(['data', 'split', str(mine)]) == 0
    found = read(mine / 'manifest.csv')
    assert found[0].keys() == {'path', 'identity', 'camera', 'modality', 'split'}
    assert len(found) == 8 * 4
    assert all((mine / row['path']).is_file() for row in found)
    assert {(row['modality'], row['camera']) for row in found} == {('visible', '1'), ('infrared', '2')}
    assert Counter(split_of(mine / 'manifest.csv').values()) == {'train': 4, 'test': 4}
    data = Manifest(str(mine))
    assert [len(data.split(name)) for name in ('train', 'test')] == [16, 16]
    assert capsys.readouterr().out == (
        f'split 8 people of the folders {mine} into {mine}/manifest.csv\n\n'
        'split  identities  visible cam1  infrared cam2\n'
        'train  4           8             8\n'
        'test   4           8             8\n\n'
        '4 test identities: a rank-1 of 80% on 4 people is compatible with 33 to 98% on others.\n'
        'To test on all 8, train 4 models, each without some of them: --folds 4\n\n'
        f'next: vireid data check {mine}\n'
        f'      vireid train vireid::own_few.py --data-root {mine}\n'
    )


def test_the_seed_chooses_and_the_same_one_chooses_the_same(mine, tmp_path):
    for number, seed in enumerate((0, 0, 1, 2, 3)):
        assert main(['data', 'split', str(mine), '--seed', str(seed), '-o', str(tmp_path / f'{number}.csv')]) == 0
    assert (tmp_path / '0.csv').read_bytes() == (tmp_path / '1.csv').read_bytes()
    assert len({(tmp_path / f'{number}.csv').read_bytes() for number in range(5)}) > 2


def test_a_validation_split_and_another_place(mine, tmp_path, capsys):
    out = tmp_path / 'tables/a.csv'
    assert main(['data', 'split', str(mine), '--test', '0.375', '--val', '0.25', '-o', str(out)]) == 0
    assert Counter(split_of(out).values()) == {'train': 3, 'val': 2, 'test': 3}
    assert read(out)[0]['path'].startswith('../mine/visible/')
    assert {Path(s.path).resolve() for s in Manifest(str(out)).samples} == {p.resolve() for p in mine.rglob('*.png')}
    assert f'--data-root {out}' in capsys.readouterr().out


def test_a_table_reached_by_a_link_leads_to_its_images(mine, tmp_path):
    (tmp_path / 'far/away').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'far/away')
    assert main(['data', 'split', str(mine), '-o', str(tmp_path / 'link/a.csv')]) == 0
    assert all(Path(s.path).is_file() for s in Manifest(str(tmp_path / 'link/a.csv')).samples)


def test_nothing_is_written_over(mine, capsys):
    (mine / 'manifest.csv').write_text('mine\n')
    assert main(['data', 'split', str(mine)]) == 2
    assert capsys.readouterr().err == (
        f'error: {mine}/manifest.csv already exists and would be overwritten\n'
        f'  next:    give another file, such as -o {mine}/split.csv, or remove this one\n'
    )
    assert (mine / 'manifest.csv').read_text() == 'mine\n'
    assert main(['data', 'split', str(mine), '-o', str(mine / 'other.csv')]) == 0
    assert f'Not used: {mine}/manifest.csv. To split that table, give its path.' in capsys.readouterr().out


def test_people_of_one_modality_are_left_out_and_told(mine, capsys):
    add(mine, 'iris', modalities=('visible',))
    add(mine, 'jack', modalities=('infrared',))
    assert main(['data', 'split', str(mine)]) == 0
    found = split_of(mine / 'manifest.csv')
    assert found['iris'] == found['jack'] == 'unmatched'
    assert Counter(found.values()) == {'train': 4, 'test': 4, 'unmatched': 2}
    told = '2 identities with a single modality, which have no match, are left out (unmatched): iris (visible), jack'
    assert told in capsys.readouterr().out


def test_cameras_are_columns_and_shared_out(tmp_path, capsys):
    for number in range(8):
        add(tmp_path / ('a' if number < 4 else 'b'), f'p{number}')
    for camera, some in ((1, 'a'), (3, 'b')):
        (tmp_path / 'mine/visible').mkdir(parents=True, exist_ok=True)
        (tmp_path / some / 'visible').rename(tmp_path / f'mine/visible/cam{camera}')
        (tmp_path / 'mine/infrared').mkdir(parents=True, exist_ok=True)
        (tmp_path / some / 'infrared').rename(tmp_path / f'mine/infrared/cam{camera + 1}')
    assert main(['data', 'split', str(tmp_path / 'mine')]) == 0
    assert (
        'split  identities  visible cam1  visible cam3  infrared cam2  infrared cam4\n'
        'train  4           4             4             4              4\n'
        'test   4           4             4             4              4\n' in capsys.readouterr().out
    )


HEADER = 'path,identity,camera,modality'
ROWS = [f'{n}{m[0]}.png,P{n},{c},{m}' for n in range(6) for c, m in ((3, 'visible'), (5, 'infrared'))]


def test_a_table_with_or_without_splits_is_split_anew(tmp_path, capsys):
    (tmp_path / 'a.csv').write_text('\n'.join([HEADER, *ROWS]) + '\n')
    # everyone is in training and in test, which `train` would refuse; and there is a column of the user's own
    (tmp_path / 'manifest.csv').write_text(
        '\n'.join([f'{HEADER},split,note', *(f'{row},{"train" if "vis" in row else "test"},x' for row in ROWS)]) + '\n'
    )
    for given, out in ((tmp_path / 'a.csv', tmp_path / 'b.csv'), (tmp_path, tmp_path / 'c.csv')):
        assert main(['data', 'split', str(given), '-o', str(out)]) == 0
        printed = capsys.readouterr().out
        assert 'split  identities  visible cam3  infrared cam5' in printed
        assert ('Columns not copied to the new table: note.' in printed) == (given == tmp_path)
    assert (tmp_path / 'b.csv').read_bytes() == (tmp_path / 'c.csv').read_bytes()
    assert Counter(split_of(tmp_path / 'b.csv').values()) == {'train': 3, 'test': 3}
    assert {row['path'] for row in read(tmp_path / 'b.csv')} == {row.partition(',')[0] for row in ROWS}


@pytest.mark.parametrize(
    ('arguments', 'texts'),
    [
        (['{}/none'], ['/none does not exist', 'a folder or a table of images']),
        (['{}/empty'], ['/empty contains neither folders of people nor a table', 'visible/NAME/*.jpg', 'manifest.csv']),
        (
            ['{}/three'],
            ['three has 3 identities with both modalities', '4 or more: two for each of train and test'],
        ),
        (['{}/three', '-o', '{}/x.txt'], ['-o is', 'a file name that ends in .csv']),
        (['{}/mine', '--test', '1.5'], ['the shares are 1.5 for test and 0.0 for validation']),
        (
            ['{}/mine', '--test', '0.6', '--val', '0.3'],
            ['which leaves 1 of 8 identities for training'],
        ),
        (['{}/mine', '--seed', '-3'], ['seed is -3', 'allowed: 0 or more']),
        (['{}/empty/a.jpg'], ['a.jpg', 'a CSV or Parquet file']),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(mine, tmp_path, capsys, arguments, texts):
    (tmp_path / 'empty').mkdir()
    Image.new('RGB', (4, 8)).save(tmp_path / 'empty/a.jpg')
    for name in ('anna', 'bert', 'carl'):
        add(tmp_path / 'three', name)
    assert main(['data', 'split', *(argument.format(tmp_path) for argument in arguments)]) == 2
    printed = capsys.readouterr().err
    for wanted in texts:
        assert wanted in printed
    assert not list(tmp_path.rglob('*.csv'))
