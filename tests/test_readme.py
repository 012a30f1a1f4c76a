"""Runs the "Add a module" section of README.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vireid.cli import main

ROOT = Path(__file__).parents[1]
SMALL = ['model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[64,32]']


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Creates a folder with the two files of README.md and changes into it."""
    section = (ROOT / 'README.md').read_text().split('## Add a module')[1].split('## In Python')[0]
    module, config = (block.split('```')[0] for block in section.split('```python\n')[1:])
    (tmp_path / 'my_fusion.py').write_text(module)
    (tmp_path / 'my_tffn.py').write_text(config)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_module_is_about_ten_lines(beside):
    lines = [line for line in (beside / 'my_fusion.py').read_text().splitlines() if line.strip()[:1] not in ('', '#')]
    assert len(lines) <= 11


def test_a_config_that_names_the_file_beside_it(beside, capsys):
    assert main(['train', 'my_tffn.py', '--dry-run', '--cfg-options', *SMALL]) == 0
    assert re.search(r'mlfm +Maximum +s2, s3, s4', capsys.readouterr().out)


def test_the_flag_instead_of_the_key(beside, capsys):
    config = (beside / 'my_tffn.py').read_text()
    (beside / 'my_tffn.py').write_text(config.replace("plugins = ['my_fusion.py']\n", ''))
    arguments = ['train', 'my_tffn.py', '--dry-run', '--plugin', 'my_fusion.py', '--cfg-options', *SMALL]
    assert main(arguments) == 0
    assert 'Maximum' in capsys.readouterr().out


def test_the_check_that_is_shown(tmp_path, monkeypatch, capsys):
    """Checks the example of an invalid config in README.md against the real output."""
    shown = (ROOT / 'README.md').read_text().split('$ vireid config check typos.py\n')[1].split('```')[0]
    mistakes = """
_base_ = 'vireid::tffn_demo.py'
model = dict(
    necks=dict(mlfm=dict(reducton=8)),
    heads=dict(deep=dict(type='GlobalHead', losses=dict(id=dict(type='CrossEntropy')))),
)
step = dict(optimizer=dict(lr='0,01'))
"""
    (tmp_path / 'typos.py').write_text(mistakes)
    monkeypatch.chdir(tmp_path)
    assert main(['config', 'check', 'typos.py']) == 2
    assert capsys.readouterr().out == shown
