"""`vireid train --trials`: a model for each split, finished ones passed over, mean and deviation over the models."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from vireid.cli import main
from vireid.cli.trials import parse_trials
from vireid.core import training
from vireid.core.errors import VireidError
from vireid.core.run import Interrupted

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'tffn_regdb.py')
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'images.workers=0',
    'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'training.epochs=1',
]  # fmt: skip


@pytest.mark.parametrize(
    ('text', 'trials'), [('1-10', list(range(1, 11))), ('3', [3]), ('1, 7-9,1', [1, 7, 8, 9]), ('2-2', [2])]
)
def test_trials_are_ranges_and_lists(text: str, trials: list[int]) -> None:
    assert parse_trials(text) == trials


@pytest.mark.parametrize('text', ['', 'all', '3-1', '1-', '-1', '1,,2', '1.5'])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(VireidError, match='1-10, or 1,3,5'):
        parse_trials(text)


def command(root: Path, work_dir: Path, trials: str, *more: str) -> int:
    words = ['train', CONFIG, '--data-root', str(root), '--work-dir', str(work_dir), '--trials', trials, *more]
    return main([*words, '--cfg-options', *SMALL])


def test_a_model_for_each_split_and_their_mean(small_regdb, tmp_path, capsys, monkeypatch):
    assert command(small_regdb, tmp_path, '1-2') == 0
    assert 'done before' not in capsys.readouterr().out
    monkeypatch.setattr('vireid.core.training.Scoring', None)  # neither of them is trained again
    with pytest.raises(TypeError):
        command(small_regdb, tmp_path, '1-3')
    monkeypatch.undo()
    assert command(small_regdb, tmp_path, '1-3') == 0
    text = capsys.readouterr().out
    assert text.count('(done before)') == 4
    parts = [json.loads((tmp_path / f'trial_{t}' / 'result.json').read_text()) for t in (1, 2, 3)]
    assert [p['split'] for p in parts] == ['trial 1', 'trial 2', 'trial 3']
    whole = json.loads((tmp_path / 'result.json').read_text())
    assert whole['models'] == [1, 2, 3]
    assert whole['protocol'] == 'regdb/agw'
    for number, name in enumerate(('visible to thermal', 'thermal to visible')):
        row: dict[str, Any] = whole['rows'][number]
        assert row['name'] == name
        for key in ('R1', 'R10', 'mAP', 'mINP'):
            values = [p['rows'][number][key][0] for p in parts]
            assert row[key] == pytest.approx([statistics.fmean(values), statistics.pstdev(values)])
        mean, deviation = (100 * value for value in row['mAP'])
        assert f'{mean:.2f} ±{deviation:.2f}' in text
    assert 'over 3 models, each on its own split' in text


def test_a_checkpoint_of_one_split_refuses_another(small_regdb, tmp_path, capsys):
    assert command(small_regdb, tmp_path, '1') == 0
    last = str(tmp_path / 'trial_1/checkpoints/last.pt')
    words = [CONFIG, last, '--data-root', str(small_regdb), '--trial', '2', '--cfg-options', *SMALL]
    assert main(['test', *words]) == 2
    assert 'was trained on trial 1 and this scores trial 2' in capsys.readouterr().err


def test_stopped_in_one_split_the_same_command_goes_on_there(small_regdb, tmp_path, capsys, monkeypatch):
    real, resumed = training.train, []

    def train(experiment: Any, folder: Path, resume: Any = None) -> Any:
        resumed.append(resume)
        if len(resumed) == 2:
            (folder / 'checkpoints').mkdir(parents=True)
            raise Interrupted(folder / 'checkpoints/last.pt')
        return real(experiment, folder, resume=resume)

    monkeypatch.setattr(training, 'train', train)
    assert command(small_regdb, tmp_path, '1-2') == 130
    assert 'the same command goes on from here' in capsys.readouterr().out
    assert not (tmp_path / 'result.json').exists()
    assert command(small_regdb, tmp_path, '1-2') == 0
    assert (tmp_path / 'result.json').exists()


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--trial', '1'], '--trials and --trial do not go together'),
        (['--resume'], 'give the same command again'),
    ],
)
def test_what_does_not_go_together(small_regdb, tmp_path, capsys, words, said):
    assert command(small_regdb, tmp_path, '1-2', *words) == 2
    assert said in capsys.readouterr().err


def test_a_missing_split_is_known_before_the_first_is_trained(small_regdb, tmp_path, capsys):
    assert command(small_regdb, tmp_path, '1,11') == 2
    assert 'trial is 11' in capsys.readouterr().err
    assert not list(tmp_path.rglob('last.pt'))


def test_another_config_in_the_same_folder_is_refused(small_regdb, tmp_path, capsys):
    assert command(small_regdb, tmp_path, '1') == 0
    assert command(small_regdb, tmp_path, '1', '--seed', '5') == 2
    assert 'holds a run with another seed' in capsys.readouterr().err


def test_a_dataset_without_splits_refuses(small_sysu, tmp_path, capsys):
    words = ['train', CONFIG.replace('regdb', 'sysu'), '--data-root', str(small_sysu), '--work-dir', str(tmp_path)]
    assert main([*words, '--trials', '1-2', '--cfg-options', *SMALL]) == 2
    assert "no argument 'trial'" in capsys.readouterr().err
