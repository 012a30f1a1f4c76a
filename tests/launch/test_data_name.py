"""Generated images are called so wherever data has a name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.core.types import Sample
from vireid.launch.data_name import data_name, is_generated
from vireid.launch.launch import train
from vireid.synth import synthesize


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder / 'people', layout='sysu', ids=5, seed=0, images=1, workers=1)
    return folder / 'people'


def test_a_folder_with_the_stamp_is_named_as_generated(people: Path, tmp_path: Path) -> None:
    assert data_name({'type': 'SYSU-MM01', 'root': str(people)}) == 'synthetic people, SYSU-MM01 layout'
    assert data_name({'type': 'SYSU-MM01', 'root': str(tmp_path)}) == 'SYSU-MM01'
    assert data_name({'type': 'SYSU-MM01', 'root': None}) == 'SYSU-MM01'


def test_other_people_in_its_layout_do_not_bear_a_datasets_name(tmp_path: Path) -> None:
    class Reader:
        def __init__(self, people: int, expected: object = None) -> None:
            self.people = people
            if expected is not None:
                self.expected = expected

        def split(self, name: str) -> list[Sample]:
            assert name == 'test'
            return [Sample(f'{n}.jpg', n // 2, 1, 'visible') for n in range(2 * self.people)]

    config = {'type': 'RegDB', 'root': str(tmp_path)}
    whole = {'train': (206, 2060, 2060), 'test': (206, 2060, 2060)}
    assert data_name(config, Reader(206, whole)) == 'RegDB'
    assert data_name(config, Reader(9, whole)) == 'other people, RegDB layout'
    assert data_name(config, Reader(9, {'test': (None, None, None)})) == 'RegDB'
    assert data_name({'type': 'Folders', 'root': str(tmp_path)}, Reader(9)) == 'Folders'


def test_a_table_in_such_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / 'synth.json').write_text('{}')
    (tmp_path / 'manifest.csv').write_text('')
    assert is_generated(tmp_path / 'manifest.csv')
    assert not is_generated(tmp_path / 'nothing' / 'manifest.csv')


def test_a_run_its_table_its_features_and_its_card_say_so(people: Path, tmp_path: Path, make_small, capsys) -> None:
    said = 'synthetic people, SYSU-MM01 layout'
    options = [
        'training.epochs=None',
        'training.steps=1',
        'loggers=[{"type": "Console"}, {"type": "Report"}]',
        'evaluation.batch_size=4',
    ]
    experiment = make_small(people, *options)
    train(experiment, tmp_path / 'run')
    printed = capsys.readouterr().out
    assert f'data      {said}: ' in printed
    assert f'\n{said}, after step ' in printed
    assert json.loads((tmp_path / 'run' / 'result.json').read_text())['data'] == said
    assert said in (tmp_path / 'run' / 'report.html').read_text()

    last = str(tmp_path / 'run' / 'checkpoints' / 'last.pt')
    assert main(['export', 'weights', last, str(tmp_path / 'release')]) == 0
    card = (tmp_path / 'release' / 'README.md').read_text()
    assert f'- trained on {said}, ' in card
    assert f'Measured on {said} by `sysu/agw`' in card

    features = str(tmp_path / 'f.npz')
    assert main(['test', str(tmp_path / 'run' / 'config.yaml'), last, '--save-features', features]) == 0
    capsys.readouterr()
    assert main(['score', features]) == 0
    assert said in capsys.readouterr().out


def test_data_check_says_so(people: Path, capsys) -> None:
    main(['data', 'check', str(people)])
    assert capsys.readouterr().out.startswith(f'{people}: synthetic people, SYSU-MM01 layout\n')
