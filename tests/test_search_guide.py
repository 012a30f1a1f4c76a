"""Runs every command of docs/search.md in order, at small size, on synthetic people."""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from vireid.cli import main

pytestmark = pytest.mark.usefixtures('narrow_resnet')

GUIDE = Path(__file__).parents[1] / 'docs' / 'search.md'
BLOCKS = re.findall(r'```(console|python)\n(.*?)```', GUIDE.read_text(), re.DOTALL)
COMMANDS = [line[2:] for kind, text in BLOCKS if kind == 'console' for line in text.splitlines() if line[:2] == '$ ']
SMALL = [
    'model.backbone.depth=18', 'training.steps=1', 'images.size=[64,32]', 'images.workers=0',
    'training.precision=32-true', 'protocol.trials=1', 'loggers=[{"type": "Console"}]',
]  # fmt: skip


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('search')


@pytest.fixture(scope='module')
def told(place: Path) -> list[str]:
    """The output of each command."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for command in COMMANDS:
            words = shlex.split(command)
            assert words[0] == 'vireid'
            more = {'train': ['--cfg-options', *SMALL], 'data': ['--images', '1', '--workers', '1']}.get(words[1], [])
            with redirect_stdout(StringIO()) as printed:
                assert main([*words[1:], *more]) == 0, command
            found.append(printed.getvalue())
    return found


@pytest.mark.long
def test_the_commands_say_what_the_guide_says(place: Path, told: list[str]) -> None:
    *_, indexed, searched, filtered, extracted = told
    assert 'embedded now, 0 removed' in indexed
    assert 'cameras   1 ' in indexed
    assert 'times     from file time ' in indexed
    first, head, *lines, _, note = searched.rstrip().splitlines()
    assert first.endswith('0001.jpg, infrared (guessed; --modality sets it)')
    assert head.split() == ['rank', 'score', 'camera', 'time', 'image']
    assert len(lines) == 10
    assert note.startswith('note: scores are not calibrated')
    assert {line.split()[2] for line in filtered.splitlines()[2:-3]} == {'1', '2', '4', '5'}  # the visible cameras
    assert 'written to found.html' in filtered
    assert 'data:image/jpeg;base64,' in (place / 'found.html').read_text()
    assert 'norm 1 (' in extracted


@pytest.mark.long
def test_python_works_as_shown(place: Path, told: list[str], monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(place)
    (code,) = (text for kind, text in BLOCKS if kind == 'python')
    names: dict = {}
    exec(code, names)
    assert names['vectors'].shape == names['query'].repeat(2, axis=0).shape
    assert capsys.readouterr().out.count('camera ') == 5
