"""Which folder a run gets, and which run `--resume` continues."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vireid.boundary import checkpoint
from vireid.errors import AlreadyExists, MissingKey
from vireid.launch.run_folder import choose_folder, evaluation_folder, free_folder

CONTENT = {'model': {'w': torch.zeros(1)}, 'config': {}}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch) -> Path:
    """Two runs of one config; the second is newer."""
    monkeypatch.chdir(tmp_path)
    for name in ('mine', 'mine-2'):
        folder = tmp_path / 'runs' / name
        checkpoint.save(folder / 'checkpoints' / 'last.pt', CONTENT)
        (folder / 'config.yaml').write_text('name: mine\n')
    return tmp_path / 'runs'


def test_a_new_run_never_overwrites_another(runs):
    assert choose_folder('mine', 'mine.py', None, None) == (Path('runs/mine-3'), None)
    with pytest.raises(AlreadyExists, match='runs/mine'):
        choose_folder('mine', 'mine.py', Path('runs/mine'), None)


def test_a_config_resumes_the_newest_of_its_runs(runs):
    assert choose_folder('mine', 'mine.py', None, '')[0] == runs / 'mine-2'


def test_the_config_of_a_run_resumes_that_run(runs):
    folder, source = choose_folder('mine', 'runs/mine/config.yaml', None, '')
    assert (folder, source) == (Path('runs/mine'), Path('runs/mine/checkpoints/last.pt'))
    assert choose_folder('mine', 'runs/mine/config.yaml', Path('runs/mine-2'), '')[0] == Path('runs/mine-2')


def test_brackets_in_a_name_are_no_pattern(tmp_path):
    (tmp_path / 'a[1]').mkdir()
    assert free_folder(tmp_path, 'a[1]') == tmp_path / 'a[1]-2'


def test_a_checkpoint_outside_a_run_says_nothing_about_its_folder(runs):
    """A copy in the current folder would otherwise be resumed and scored in the parent of that folder."""
    copy = runs / 'copy.pt'
    checkpoint.save(copy, CONTENT)
    with pytest.raises(MissingKey, match=r'copy\.pt') as error:
        choose_folder('mine', 'mine.py', None, str(copy))
    assert '--work-dir' in error.value.todo
    assert choose_folder('mine', 'mine.py', runs / 'new', str(copy)) == (runs / 'new', copy)
    assert evaluation_folder('mine', copy) == runs / 'test'
    assert evaluation_folder('mine', runs / 'mine' / 'checkpoints' / 'last.pt') == runs / 'mine' / 'test'
