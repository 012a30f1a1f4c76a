"""`vireid demo`: what `make demo` runs."""

from __future__ import annotations

import re
import shlex

import pytest
from PIL import Image

import vireid.cli
from vireid.cli import demo, main

REAL = main
SMALL = (
    'model.backbone.depth=18', 'model.backbone.out_stages=[2,3]', 'model.necks.s4.inputs=stage3',
    *(f'model.necks.{name}.channels=32' for name in ('s2', 's3', 's4')),
    'images.size=[32,16]', 'images.workers=0', 'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2',
    'training.precision=32-true', 'training.evaluate_every=1',
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def printed(folder, monkeypatch, capsys):
    """The steps without their work, and what the demo prints."""
    monkeypatch.setattr(vireid.cli, 'main', lambda arguments: 0)
    monkeypatch.setattr(demo.shutil, 'which', lambda name: None)
    assert REAL(['demo']) == 0
    return capsys.readouterr().out


def test_it_trains_and_ends_with_three_commands(printed):
    steps = [line for line in printed.splitlines() if line.startswith('$ ')]
    assert steps == [
        '$ vireid data synth --layout sysu --ids 120 --seed 0 data/demo',
        '$ vireid train vireid::tffn_demo.py --data-root data/demo --work-dir runs/tffn_demo',
    ]
    after = printed.split('\nnext:\n')[1]
    assert len(re.findall(r'^  \S', after, re.MULTILINE)) == 3


def test_the_next_commands_exist(printed, monkeypatch):
    """Without the environment activated, they are called by its Python; each command accepts its flags."""
    accepted = []
    for line in re.findall(r'^  (\S.*)', printed, re.MULTILINE):
        program, *rest = shlex.split(line)
        assert 'python' in program
        assert rest[:2] == ['-m', 'vireid']
        command = vireid.cli.COMMANDS[rest[2]]
        monkeypatch.setattr(command, 'run', lambda args: accepted.append(args.command) or 0)
        assert REAL(rest[2:]) == 0
    assert accepted == ['train', 'index', 'train']


def test_a_step_that_fails_ends_it_with_its_status(folder, monkeypatch, capsys):
    monkeypatch.setattr(vireid.cli, 'main', lambda arguments: 130 if arguments[0] == 'train' else 0)
    assert REAL(['demo']) == 130
    assert 'next:' not in capsys.readouterr().out


def test_another_demo_leaves_the_first_run(folder, monkeypatch, capsys):
    (folder / 'runs/tffn_demo').mkdir(parents=True)
    monkeypatch.setattr(vireid.cli, 'main', lambda arguments: 0)
    assert REAL(['demo']) == 0
    assert '--checkpoint runs/tffn_demo-2/checkpoints/last.pt' in capsys.readouterr().out


@pytest.mark.long
def test_its_config_draws_ranking_lists_during_training(people, folder, capsys):
    options = ['--cfg-options', *SMALL, 'training.epochs=2', 'training.steps=None']
    assert main(['train', demo.CONFIG, '--data-root', str(people), *options]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == 'report: runs/tffn_demo/report.html'
    steps = re.findall(r'ranking lists after step (\d+): runs/tffn_demo/rankings.png', out)
    assert len(steps) == 2  # after the first epoch and at the end
    with Image.open(folder / 'runs/tffn_demo/rankings.png') as picture:
        assert picture.width > 1000
