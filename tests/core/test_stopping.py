"""Signals: the step is finished, the run is saved, and the command says by its status what stopped it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vireid.core import checkpoint
from vireid.core.stopping import Interrupted, interruptible
from vireid.synth import synthesize

ROOT = Path(__file__).parents[2]
OPTIONS = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'sampler.identities=2',
    'sampler.visible=2', 'sampler.infrared=2', 'training.precision=32-true', 'training.steps=100000',
    'loggers=[{"type": "MetricsFile"}]', 'protocol.trials=2',
]  # fmt: skip


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
def test_the_first_signal_is_noted_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with interruptible() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.number == number
        assert Interrupted(Path('last.pt'), number).status == 128 + number
        os.kill(os.getpid(), number)  # at once: a launcher passed on what came to all processes
        stop.at -= 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder / 'data', layout='sysu', ids=8, seed=0, images=1, workers=1)
    return folder / 'data'


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)], ids=['TERM', 'USR1'])
def test_a_batch_system_s_signal_saves_and_has_a_status_of_its_own(people, tmp_path, number, status):
    words = [sys.executable, '-m', 'vireid', 'train', str(ROOT / 'configs/tffn_demo.py'), '--data-root', str(people)]
    run = subprocess.Popen(
        [*words, '--work-dir', 'run', '--cfg-options', *OPTIONS],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = tmp_path / 'run' / 'metrics.jsonl'
    for _ in range(600):
        if lines.exists() and len(lines.read_text().splitlines()) > 2:
            break
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    run.send_signal(number)
    out, error = run.communicate(timeout=60)
    assert run.returncode == status, error
    assert 'go on with: vireid train' in out
    saved = checkpoint.load(tmp_path / 'run' / 'checkpoints' / 'last.pt')
    assert saved['progress']['step'] == len(lines.read_text().splitlines())
