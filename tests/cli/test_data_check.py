"""`vireid data check`: which dataset a folder is; what the report says is tested in tests/diagnostics."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.cli import main
from vireid.cli.data import _layout
from vireid.core.errors import VireidError
from vireid.plugin_manager.manager import create_manager
from vireid.synth import synthesize

DATASETS = {'sysu': 'SYSU-MM01', 'regdb': 'RegDB', 'llcm': 'LLCM', 'folders': 'Folders', 'manifest': 'Manifest'}


@pytest.mark.parametrize(('layout', 'dataset'), DATASETS.items())
def test_a_dataset_is_known_by_its_layout(layout: str, dataset: str, tmp_path: Path) -> None:
    synthesize(tmp_path, layout=layout, ids=6, seed=0, images=1, workers=1)
    assert _layout(tmp_path, create_manager().components) == dataset


def test_half_of_a_published_dataset_is_still_that_dataset(tmp_path: Path) -> None:
    """So that what is missing can be named."""
    (tmp_path / 'exp').mkdir()
    assert _layout(tmp_path, create_manager().components) == 'SYSU-MM01'


PLUGIN = """
import vireid

class Night:
    recognized_by = ('night.txt',)

    def __init__(self, root=None):
        self.root = root

    def split(self, name):
        return ()

@vireid.hookimpl
def register_components(add):
    add('datasets', 'Night', Night)
"""


def test_the_dataset_of_a_plugin_is_known_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'night.py').write_text(PLUGIN)
    (tmp_path / 'night').mkdir()
    (tmp_path / 'night/night.txt').touch()
    assert main(['data', 'check', str(tmp_path / 'night'), '--plugin', str(tmp_path / 'night.py')]) == 1
    assert 'train: no visible image' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('name', 'given'), [('nowhere', 'nowhere does not exist'), ('', 'has the layout of no dataset')]
)
def test_anything_else_is_told(name: str, given: str, tmp_path: Path) -> None:
    with pytest.raises(VireidError) as error:
        _layout(tmp_path / name, create_manager().components)
    assert error.value.given.endswith(given)
