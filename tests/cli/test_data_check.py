"""`vireid data check`: what the report says is tested in tests/diagnostics."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.cli import main

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
