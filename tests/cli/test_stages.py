"""Configs that follow each other, as one run: resumed, passed over when done, refused when they cannot follow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import vireid
from vireid.cli import main
from vireid.core.errors import VireidError
from vireid.core.scoring import results
from vireid.core.training import checkpoint

FIRST = """
_base_ = {base!r}
training = dict(epochs=None, steps=2, checkpoint_every=1, precision='32-true')
images = dict(size=(64, 32))
model = dict(backbone=dict(depth=18, weights=None))
sampler = dict(identities=2, visible=2, infrared=2)
protocol = dict(trials=1)
loggers = [dict(type='MetricsFile')]
"""
SECOND = """
_base_ = 'first.py'
stages = ['first.py']
training = dict(steps=1, freeze=['backbone.*'])
"""
BASE = str(Path(__file__).parents[2] / 'configs' / 'tffn_sysu.py')


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    (tmp_path / 'first.py').write_text(FIRST.format(base=BASE))
    (tmp_path / 'second.py').write_text(SECOND)
    return tmp_path


def words(configs: Path, root: Path, *more: str) -> list[str]:
    return ['train', str(configs / 'second.py'), '--data-root', str(root), '--work-dir', str(configs / 'run'), *more]


def test_each_begins_with_the_weights_of_the_one_before(configs, small_sysu, capsys):
    assert main(words(configs, small_sysu)) == 0
    out = capsys.readouterr().out
    assert 'second, stage 1, first' in out
    assert 'second, last stage' in out
    first = checkpoint.load(configs / 'run/stage1_first/checkpoints/last.pt')['model']
    second = checkpoint.load(configs / 'run/checkpoints/last.pt')['model']
    frozen = [name for name in first if name.startswith('backbone.')]
    assert all(torch.equal(first[name], second[name]) for name in frozen)  # BatchNorm's statistics too
    assert any(not torch.equal(first[name], second[name]) for name in first if name not in frozen)
    # what is left is a run like any other
    assert main(['config', 'check', str(configs / 'run/config.yaml')]) == 0
    assert main(['test', str(configs / 'run/config.yaml'), str(configs / 'run/checkpoints/last.pt')]) == 0
    assert vireid.load(configs / 'run/checkpoints/last.pt').embedding_dim > 0
    record = json.loads((configs / 'run/run.json').read_text())
    assert record['init']['file'].endswith('run/stage1_first/checkpoints/last.pt')
    written = [p.stat().st_mtime_ns for p in configs.glob('run/**/checkpoints/last.pt')]
    assert main(words(configs, small_sysu, '--resume')) == 0  # all is done
    assert capsys.readouterr().out.count('(done before)') == 1
    assert written == [p.stat().st_mtime_ns for p in configs.glob('run/**/checkpoints/last.pt')]


def test_killed_in_the_second_the_same_command_ends_as_if_nothing_had_been(configs, small_sysu):
    options = ['--cfg-options', 'training.checkpoint_every=1']
    assert main(words(configs, small_sysu, *options)) == 0
    whole = checkpoint.load(configs / 'run/checkpoints/last.pt')['model']
    other = configs / 'other'
    command = [sys.executable, '-m', 'vireid', *words(configs, small_sysu, *options)]
    command[command.index(str(configs / 'run'))] = str(other)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = other / 'checkpoints/last.pt'
    for _ in range(600):
        if second.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main([word if word != str(configs / 'run') else str(other) for word in words(configs, small_sysu)]) == 0
    found = checkpoint.load(second)['model']
    assert all(torch.equal(whole[name], found[name]) for name in whole)


def test_a_stage_that_is_not_there(configs, small_sysu, capsys):
    (configs / 'first.py').rename(configs / 'base.py')
    (configs / 'second.py').write_text(SECOND.replace("_base_ = 'first.py'", "_base_ = 'base.py'"))
    assert main(words(configs, small_sysu)) == 2
    assert 'first.py' in capsys.readouterr().err
    assert main(['config', 'check', str(configs / 'second.py')]) == 2
    assert f'stages.0: no config file {configs}/first.py' in capsys.readouterr().out


def test_a_stage_of_another_network(configs, small_sysu, capsys):
    (configs / 'second.py').write_text(SECOND + 'model = dict(heads=dict(glfm=dict(channels=64)))\n')
    assert main(words(configs, small_sysu)) == 2
    error = capsys.readouterr().err
    assert 'training.init: ' in error
    assert 'does not fit the model' in error
    assert 'training.init_partial=True' in error
    (configs / 'second.py').write_text(
        (configs / 'second.py').read_text().replace('steps=1', 'steps=1, init_partial=True')
    )
    assert main(words(configs, small_sysu)) == 0


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--init', 'x.pt'], 'has stages, and --init does not go with them'),
        (['--resume', 'x.pt'], 'has stages, and --resume FILE does not go with them'),
        (['--cfg-options', 'training.init=x.pt'], "training.init is 'x.pt', and stages give the initial weights"),
        (['--cfg-options', 'stages=3'], 'stages is 3'),
    ],
)
def test_what_does_not_go_with_stages(configs, small_sysu, capsys, more, said):
    assert main(words(configs, small_sysu, *more)) == 2
    assert said in capsys.readouterr().err


def test_other_ways_to_run_it_say_that_stages_come_before(configs, small_sysu, capsys):
    with pytest.raises(VireidError, match=r'stages: .*first.py come before this[\s\S]*vireid train CONFIG'):
        vireid.train(configs / 'second.py', configs / 'x', dataset={'root': str(small_sysu)})
    words = ['test', str(configs / 'second.py'), '--data-root', str(small_sysu)]
    assert main([*words, '--cfg-options', 'training.freeze=["*"]']) == 2
    assert 'come before this' in capsys.readouterr().err


def test_a_frozen_network_is_scored_with_the_weights_it_names(configs, small_sysu, capsys, tmp_path):
    assert (
        main(['train', str(configs / 'first.py'), '--data-root', str(small_sysu), '--work-dir', str(configs / 'a')])
        == 0
    )
    trained = results.read(configs / 'a')['rows']
    options = [f'training.init={configs}/a/checkpoints/last.pt', 'training.freeze=["*"]']
    words = ['test', str(configs / 'first.py'), '--data-root', str(small_sysu), '--work-dir', str(configs / 'b')]
    assert main([*words, '--cfg-options', *options]) == 0
    assert results.read(configs / 'b')['rows'] == trained


def test_weights_that_have_seen_what_chooses_them_are_refused(configs, small_sysu, capsys):
    """The baseline trains on the validation identities too, by which this run would choose its weights."""
    words = ['train', str(configs / 'first.py'), '--data-root', str(small_sysu), '--work-dir']
    assert main([*words, str(configs / 'a')]) == 0
    chosen = ['dataset.train_lists=["train"]', 'evaluation.select=validation', 'training.evaluate_every=1']
    init = ['--init', str(configs / 'a/checkpoints/last.pt'), '--partial']
    assert main([*words, str(configs / 'b'), *init, '--cfg-options', *chosen]) == 2
    assert 'of the images that this would score it on' in capsys.readouterr().err
    # and what grew from those weights carries it on
    assert main([*words, str(configs / 'c'), *init, '--cfg-options', chosen[0]]) == 0
    ours, theirs = (checkpoint.load(configs / run / 'checkpoints/last.pt')['trained_on'] for run in 'ca')
    assert set(theirs.tolist()) <= set(ours.tolist())


def test_a_stage_that_begins_elsewhere_is_refused(configs, small_sysu, capsys):
    (configs / 'middle.py').write_text("_base_ = 'first.py'\ntraining = dict(init='other.pt')\n")
    (configs / 'second.py').write_text(SECOND.replace("stages = ['first.py']", "stages = ['first.py', 'middle.py']"))
    assert main(words(configs, small_sysu)) == 2
    assert 'middle.py names training.init, and it begins with the stage before' in capsys.readouterr().err


def test_one_start_for_several_splits_is_refused(small_regdb, capsys, tmp_path):
    words = [
        'train',
        'configs/tffn_regdb.py',
        '--trials',
        '1-2',
        '--data-root',
        str(small_regdb),
        '--work-dir',
        str(tmp_path),
    ]
    assert main([*words, '--cfg-options', 'training.init=x.pt', 'model.backbone.weights=None']) == 2
    assert 'weights of one split have seen identities that another is tested on' in capsys.readouterr().err


def test_a_checkpoint_to_begin_with_may_stand_in_the_config(configs, small_sysu, capsys):
    first = ['train', str(configs / 'first.py'), '--data-root', str(small_sysu), '--work-dir']
    assert main([*first, str(configs / 'a')]) == 0
    init = f'training.init={configs}/a/checkpoints/last.pt'
    assert main([*first, str(configs / 'b'), '--cfg-options', init, 'training.freeze=["*"]']) == 2
    assert 'has no parameters that could be trained' in capsys.readouterr().err
    assert main([*first, str(configs / 'b'), '--cfg-options', init, 'training.freeze=["backbone.*"]']) == 0
    a, b = (checkpoint.load(configs / run / 'checkpoints/last.pt')['model'] for run in 'ab')
    assert all(torch.equal(a[name], b[name]) for name in a if name.startswith('backbone.'))
    assert main([*first, str(configs / 'c'), '--cfg-options', 'training.init=no.pt']) == 2
    assert 'training.init: no checkpoint no.pt' in capsys.readouterr().err
