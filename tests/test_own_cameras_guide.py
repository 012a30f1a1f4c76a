"""Runs every command of docs/own-cameras.md in order, at small size, on synthetic people."""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from vireid.cli import main
from vireid.synth import synthesize

GUIDE = Path(__file__).parents[1] / 'docs' / 'own-cameras.md'
BLOCKS = re.findall(r'```(console|python)\n(.*?)```', GUIDE.read_text(), re.DOTALL)
COMMANDS = [line[2:] for kind, text in BLOCKS if kind == 'console' for line in text.splitlines() if line[:2] == '$ ']
# a small network with random weights, a single step, images that have a row for each stripe and are narrow
SMALL = [
    'model.backbone.network=shufflenet_v2_x0_5', 'model.backbone.weights=None', 'images.workers=0',
    'training.precision=32-true',
]  # fmt: skip


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `mine`, 16 people in two folders, and `site`, images of four others."""
    place = tmp_path_factory.mktemp('own')
    synthesize(place / 'drawn', layout='folders', ids=20, seed=0, images=1, workers=1)
    for folder in (place / 'drawn').glob('*/*/*'):
        target = place / ('mine' if int(folder.name) <= 16 else 'site') / folder.parent.name / folder.name
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    return place


@pytest.fixture(scope='module')
def told(place: Path) -> list[str]:
    """The output of each command."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for command in COMMANDS:
            words = shlex.split(command)
            assert words[0] == 'vireid'
            config = next((word for word in words if word.startswith('vireid::')), None)
            few = config == 'vireid::own_few.py'
            small = ['training.steps=1', 'images.size=[128,32]'] if few else ['images.size=[192,32]']
            one = words[1] == 'train' and '--folds' not in words  # one report is as good as thirteen
            quiet = [] if one else ['loggers=[{"type": "Console"}]']
            options = ['--cfg-options', *SMALL, *small, *quiet] if config else []
            with redirect_stdout(StringIO()) as printed:
                assert main([*words[1:], *options]) == 0, command
            found.append(printed.getvalue())
    return found


def test_the_commands_say_what_the_guide_says(place: Path, told: list[str]) -> None:
    split, check, untrained, trained, folds, curve, adapted, again, back, released = told
    assert 'vireid train vireid::own_few.py --data-root mine' in split
    assert 'error' not in check
    assert 'Manifest, without training' in untrained
    assert '95% interval over 8 identities' in untrained
    assert re.search(r'best mAP on 2 validation identities \([0-9.]+ before training, [0-9.]+ after\)', trained)
    assert 're-ranked (20, 6, 0.3)' in trained
    assert 'over 5 models' in folds
    assert '95% interval over 16 identities' in folds
    assert 'From 6 to 8 labeled people, rank-1 changes by' in curve
    assert 'labeled images' in adapted
    assert 'adapted to ' in again
    assert 'before adaptation' in back
    assert 'release/README.md' in released
    assert 'all queries and the whole gallery at once' in (place / 'release/README.md').read_text()


def test_the_model_is_used_as_shown(place: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (code,) = (text for kind, text in BLOCKS if kind == 'python')
    files = {f'{m}_files': sorted(map(str, (place / 'mine' / m).glob('*/*')))[:25] for m in ('visible', 'infrared')}
    names: dict[str, Any] = dict(files)
    exec(code, names)
    assert names['similarity'].shape == names['again'].shape == (25, 25)
    assert (names['similarity'] != names['again']).any()
    # an image is embedded alike whatever stands beside it in the batch
    alone = names['model'].embed(files['visible_files'][3:4], 'visible')
    assert float((alone @ names['gallery'][3:4].T).item()) == pytest.approx(1, abs=1e-4)
