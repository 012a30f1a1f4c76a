"""Runs every command of docs/own-cameras.md in order, at small size, on synthetic people."""

from __future__ import annotations

import re
import shlex
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import walking

import vireid.cli
from vireid.cli import main
from vireid.serve import listening
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
    """A folder with `mine`, 16 people in two folders, `site`, images of four others, and `filmed` with two videos."""
    place = tmp_path_factory.mktemp('own')
    (place / 'filmed').mkdir()
    for seed, name in enumerate(('day.mp4', 'night.mp4')):
        size, seconds = (320, 180), 2
        walks = walking.random_walks(2, seconds, size, seed)
        walking.write_video(place / 'filmed' / name, walking.frames(walks, seconds, size))
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
        patch.setattr('vireid.reporting.page._figure', lambda name, *_, **__: {'missing': name})  # unread
        for command in COMMANDS:
            words = shlex.split(command)
            assert words[0] == 'vireid'
            if words[1] in ('start', 'crops', 'label'):
                found.append(from_videos(words[1:], place / 'filmed'))
                continue
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


def from_videos(words: list[str], place: Path) -> str:
    """Runs a command on the videos, with a detector that knows the truth; nobody answers the questions of the page."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.chdir(place)
        patch.setattr(listening, 'serve', lambda *arguments: None)
        if words[0] == 'crops':
            truth = ['--detector', 'Truth', '--cfg-options', f'detector.truth={words[1]}.json', '--min-height', '20']
            assert main([*words, *truth, '--plugin', walking.__file__]) == 0
        elif words[0] == 'label':
            assert main([*words, '--cfg-options', *SMALL, 'images.size=[192,32]']) == 0
        else:  # what it runs, the guide runs

            def run(arguments: list[str]) -> int:
                if arguments[0] == 'label':
                    Path('mine').mkdir()
                    Path('mine/manifest.csv').touch()
                return 0

            patch.setattr(vireid.cli, 'main', run)
            assert main([*words, '--yes']) == 0
            shutil.rmtree('mine')
    return printed.getvalue()


@pytest.mark.long
def test_the_commands_say_what_the_guide_says(place: Path, told: list[str]) -> None:
    started, day, night, labeled, split, check, untrained, trained, folds, curve, *rest = told
    adapted, again, back, released, indexed = rest
    steps = [line.split()[2] for line in started.splitlines() if line.startswith('$ ')]
    assert steps == ['crops', 'crops', 'label', 'data', 'test', 'train', 'index', 'serve']
    assert re.search(r'mine: \d+ crops in \d tracks', day)
    assert 'vireid label mine' in night
    assert 'embedded now' in labeled
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
    assert 'embedded now, 0 removed' in indexed
    assert 'all queries and the whole gallery at once' in (place / 'release/README.md').read_text()


@pytest.mark.long
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
