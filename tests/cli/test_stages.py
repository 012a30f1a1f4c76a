"""Configs that follow each other, as one run: resumed, passed over when done, refused when they cannot follow."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vireid
from vireid.boundary import checkpoint
from vireid.cli import main
from vireid.errors import NotReady
from vireid.reporting import result_file

FIRST = """
_base_ = {base!r}
training = dict(epochs=None, steps=2, checkpoint_every=1, precision='32-true')
images = dict(size=(32, 16), workers=0)
model = dict(
    backbone=dict(depth=18, weights=None, out_stages=(2, 3)),
    necks=dict(s2=dict(channels=64), s3=dict(channels=64), s4=dict(inputs='stage3', channels=64)),
)
sampler = dict(identities=2, visible=2, infrared=2)
protocol = dict(trials=1)
loggers = [dict(type='MetricsFile')]
"""
SECOND = """
_base_ = 'first.py'
stages = ['first.py']
training = dict(steps=2, freeze=['backbone.*'])
"""
KILLER = """
import os, signal, vireid

@vireid.hookimpl
def step_ended(run, progress):
    if os.environ.get('KILL') and run.work_dir.name == 'run' and progress.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""
BASE = str(Path(__file__).parents[2] / 'configs' / 'tffn_sysu.py')


def write_configs(folder: Path) -> Path:
    (folder / 'first.py').write_text(FIRST.format(base=BASE))
    (folder / 'second.py').write_text(SECOND)
    return folder


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return write_configs(tmp_path)


def words(configs: Path, root: Path, *more: str) -> list[str]:
    return ['train', str(configs / 'second.py'), '--data-root', str(root), '--work-dir', str(configs / 'run'), *more]


@pytest.fixture(scope='module')
def whole(small_sysu: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Configs, with a finished `run` of both stages beside them, and what was printed meanwhile."""
    configs = write_configs(tmp_path_factory.mktemp('whole'))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(words(configs, small_sysu)) == 0
    return configs, printed.getvalue()


@pytest.fixture
def trained(whole: tuple[Path, str]) -> Path:
    """A finished run of first.py."""
    return whole[0] / 'run/stage1_first'


def test_each_begins_with_the_weights_of_the_one_before(whole, small_sysu, capsys):
    configs, out = whole
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
    assert vireid.load(configs / 'run/checkpoints/last.pt').model.embedding_dim > 0
    record = json.loads((configs / 'run/run.json').read_text())
    assert record['init']['file'].endswith('run/stage1_first/checkpoints/last.pt')
    written = [p.stat().st_mtime_ns for p in configs.glob('run/**/checkpoints/last.pt')]
    assert main(words(configs, small_sysu, '--resume')) == 0  # all is done
    assert capsys.readouterr().out.count('(finished before)') == 1
    assert written == [p.stat().st_mtime_ns for p in configs.glob('run/**/checkpoints/last.pt')]


@pytest.mark.long
def test_killed_in_the_second_the_same_command_ends_as_if_nothing_had_been(whole, configs, small_sysu):
    wanted = checkpoint.load(whole[0] / 'run/checkpoints/last.pt')['model']
    (configs / 'killer.py').write_text(KILLER)
    command = words(configs, small_sysu, '--plugin', str(configs / 'killer.py'))
    killed = subprocess.run(
        [sys.executable, '-m', 'vireid', *command], env={**os.environ, 'KILL': '1'}, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    second = configs / 'run/checkpoints/last.pt'
    assert checkpoint.load(second)['progress']['step'] == 1
    assert main(command) == 0
    found = checkpoint.load(second)['model']
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_a_stage_that_is_not_there(configs, small_sysu, capsys):
    (configs / 'first.py').rename(configs / 'base.py')
    (configs / 'second.py').write_text(SECOND.replace("_base_ = 'first.py'", "_base_ = 'base.py'"))
    assert main(words(configs, small_sysu)) == 2
    assert 'first.py' in capsys.readouterr().err
    assert main(['config', 'check', str(configs / 'second.py')]) == 2
    assert f'stages.0: no config file {configs}/first.py' in capsys.readouterr().out


def test_a_stage_of_another_network(configs, small_sysu, capsys):
    (configs / 'second.py').write_text(SECOND + 'model = dict(heads=dict(glfm=dict(channels=32)))\n')
    assert main(words(configs, small_sysu)) == 2
    error = capsys.readouterr().err
    assert 'training.init: ' in error
    assert 'does not fit the model' in error
    assert 'training.init_partial=True' in error
    (configs / 'second.py').write_text(
        (configs / 'second.py').read_text().replace('steps=2', 'steps=2, init_partial=True')
    )
    assert main(words(configs, small_sysu)) == 0


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--init', 'x.pt'], "training.init is 'x.pt', but stages already provide the initial weights"),
        (['--resume', 'x.pt'], 'has stages, which --resume FILE does not support'),
        (
            ['--cfg-options', 'training.init=x.pt'],
            "training.init is 'x.pt', but stages already provide the initial weights",
        ),
        (['--cfg-options', 'stages=3'], 'stages is 3'),
    ],
)
def test_what_does_not_go_with_stages(configs, small_sysu, capsys, more, said):
    assert main(words(configs, small_sysu, *more)) == 2
    assert said in capsys.readouterr().err


def test_other_ways_to_run_it_say_that_stages_come_before(configs, small_sysu, capsys):
    with pytest.raises(NotReady, match=r'stages: .*first\.py'):
        vireid.train(configs / 'second.py', configs / 'x', dataset={'root': str(small_sysu)})
    words = ['test', str(configs / 'second.py'), '--data-root', str(small_sysu)]
    assert main([*words, '--cfg-options', 'training.freeze=["*"]']) == 2
    assert 'must be trained first' in capsys.readouterr().err


def test_a_frozen_network_is_scored_with_the_weights_it_names(configs, trained, small_sysu):
    options = [f'training.init={trained}/checkpoints/last.pt', 'training.freeze=["*"]']
    words = ['test', str(configs / 'first.py'), '--data-root', str(small_sysu), '--work-dir', str(configs / 'b')]
    assert main([*words, '--cfg-options', *options]) == 0
    assert result_file.read(configs / 'b')['rows'] == result_file.read(trained)['rows']


def test_weights_that_have_seen_what_chooses_them_are_refused(configs, trained, small_sysu, capsys):
    """The baseline trains on the validation identities too, by which this run would choose its weights."""
    words = ['train', str(configs / 'first.py'), '--data-root', str(small_sysu), '--work-dir']
    chosen = ['dataset.train_lists=["train"]', 'evaluation.select=validation', 'training.evaluate_every=1']
    init = ['--init', str(trained / 'checkpoints/last.pt'), '--partial']
    assert main([*words, str(configs / 'b'), *init, '--cfg-options', *chosen]) == 2
    assert 'of the images to score' in capsys.readouterr().err
    # and what grew from those weights carries it on
    assert main([*words, str(configs / 'c'), *init, '--cfg-options', chosen[0]]) == 0
    ours, theirs = (checkpoint.load(run / 'checkpoints/last.pt')['trained_on'] for run in (configs / 'c', trained))
    assert set(theirs.tolist()) <= set(ours.tolist())


def test_a_stage_that_begins_elsewhere_is_refused(configs, small_sysu, capsys):
    (configs / 'middle.py').write_text("_base_ = 'first.py'\ntraining = dict(init='other.pt')\n")
    (configs / 'second.py').write_text(SECOND.replace("stages = ['first.py']", "stages = ['first.py', 'middle.py']"))
    assert main(words(configs, small_sysu)) == 2
    assert 'middle.py sets training.init, but the previous stage initializes it' in capsys.readouterr().err


def test_one_start_for_several_splits_is_refused(small_regdb, capsys, tmp_path):
    words = [
        'train',
        'configs/tffn_regdb.py',
        '--splits',
        '1-2',
        '--data-root',
        str(small_regdb),
        '--work-dir',
        str(tmp_path),
    ]
    assert main([*words, '--cfg-options', 'training.init=x.pt', 'model.backbone.weights=None']) == 2
    assert 'the weights were trained on identities that other splits test' in capsys.readouterr().err


def test_a_checkpoint_to_begin_with_may_stand_in_the_config(configs, trained, small_sysu, capsys):
    first = ['train', str(configs / 'first.py'), '--data-root', str(small_sysu), '--work-dir']
    init = f'training.init={trained}/checkpoints/last.pt'
    assert main([*first, str(configs / 'b'), '--cfg-options', init, 'training.freeze=["*"]']) == 2
    assert 'has no trainable parameters' in capsys.readouterr().err
    assert main([*first, str(configs / 'b'), '--cfg-options', init, 'training.freeze=["backbone.*"]']) == 0
    a, b = (checkpoint.load(run / 'checkpoints/last.pt')['model'] for run in (trained, configs / 'b'))
    assert all(torch.equal(a[name], b[name]) for name in a if name.startswith('backbone.'))
    assert main([*first, str(configs / 'c'), '--cfg-options', 'training.init=no.pt']) == 2
    assert 'training.init: no checkpoint no.pt' in capsys.readouterr().err
