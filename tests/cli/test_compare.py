"""`vireid compare`: the same budget and seeds for each config, resumable; finished runs as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

import vireid
from vireid.cli import main
from vireid.errors import TooFew, WrongValue

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIGS = Path(__file__).parents[2] / 'configs' / 'systems'
TINY = [
    'images.size=[64,32]', 'step.optimizer.lr=1e-4', 'training.steps=2', 'protocol.trials=1', 'protocol.modes=["all"]',
    'images.workers=0', 'model.backbone.out_stages=[2]', 'model.heads.stage4.inputs=stage2',
    'loggers=[]', 'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'step.schedule=[]',
]  # fmt: skip


def test_configs_are_trained_with_each_seed_and_finished_ones_taken_as_they_are(people, tmp_path, capsys):
    words = [
        'compare',
        str(CONFIGS / 'one_stream.py'),
        str(CONFIGS / 'two_stream.py'),
        '--on',
        'synth',
        '--seeds',
        '0-1',
    ]
    words += ['--data-root', str(people), '--work-dir', str(tmp_path), '--cfg-options', *TINY]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert 'one_stream - two_stream, R1:' in text
    assert 'synthetic people, SYSU-MM01 layout, sysu/agw, all single-shot; 2 steps' in text
    runs = sorted(p.parent for p in tmp_path.rglob('result.json'))
    assert [str(run.relative_to(tmp_path)) for run in runs] == [
        'one_stream/seed_0', 'one_stream/seed_1', 'two_stream/seed_0', 'two_stream/seed_1'
    ]  # fmt: skip
    assert '| model.' in (tmp_path / 'comparison.md').read_text()
    assert '<svg' in (tmp_path / 'comparison.html').read_text()
    assert main(words) == 0
    assert capsys.readouterr().out.count('(finished before)') == 4
    assert main(['compare', *map(str, runs), '--work-dir', str(tmp_path / 'again')]) == 0
    assert 'one_stream - two_stream, R1:' in capsys.readouterr().out
    found = vireid.compare(runs)
    assert [row['name'] for row in found.rows()] == ['one_stream', 'two_stream']
    assert vireid.table(runs).format('md').count('\n| ') == 3
    again = [*words, 'protocol.shots=["multi"]']
    assert main(again) == 2
    assert 'was finished earlier with other evaluation settings' in capsys.readouterr().err
    for given in ('runs', 3):
        with pytest.raises(WrongValue, match=f'systems is {given!r}'):
            vireid.compare(given)
    with pytest.raises(TooFew, match='runs'):
        vireid.table([])


def test_what_cannot_be_compared(people, tmp_path, capsys):
    one = str(CONFIGS / 'one_stream.py')
    assert main(['compare', one, one, '--data-root', str(people), '--work-dir', str(tmp_path)]) == 2
    assert 'two configs are named one_stream' in capsys.readouterr().err
    assert main(['compare', one, '--data-root', str(people), '--work-dir', str(tmp_path)]) == 2
    assert '1 system to compare' in capsys.readouterr().err
    assert main(['compare', str(tmp_path), str(people), '--seeds', '0-1']) == 2
    assert '--seeds applies to configs' in capsys.readouterr().err
    assert main(['compare', one, '--seed', '3']) == 2
    assert 'use --seeds 3' in capsys.readouterr().err
    assert main(['compare', str(tmp_path / 'no.py'), one, '--data-root', str(people)]) == 2
    assert f'{tmp_path / "no.py"} does not exist' in capsys.readouterr().err
    assert main(['compare', str(tmp_path / 'runs/none'), one, '--data-root', str(people)]) == 2
    assert 'folders of finished runs' in capsys.readouterr().err
