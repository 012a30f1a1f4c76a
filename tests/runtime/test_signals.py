"""Signals: the step is finished, the run is saved, and the command says by its status what stopped it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import faults
import pytest

from vireid.boundary import checkpoint
from vireid.cli import main
from vireid.core.config.experiment import Experiment
from vireid.launch.launch import train
from vireid.plugin_manager.manager import hookimpl
from vireid.runtime.signals import Interrupted, Stop, interruptible
from vireid.synth import synthesize

ROOT = Path(__file__).parents[2]

OPTIONS = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'model.backbone.out_stages=[2,3]',
    'model.necks.s4.inputs=stage3', *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')),
    'images.size=[32,16]', 'sampler.identities=2',
    'sampler.visible=2', 'sampler.infrared=2', 'training.precision=32-true', 'training.steps=100000',
    'loggers=[{"type": "MetricsFile"}]', 'protocol.trials=2',
]  # fmt: skip


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP], ids=lambda n: n.name)
def test_the_first_signal_is_noted_and_the_second_interrupts(number, request):
    given = signal.getsignal(number)
    request.addfinalizer(lambda: signal.signal(number, given))
    if given == signal.SIG_IGN:  # as under nohup, where SIGHUP stays ignored, and SIGINT in the background
        signal.signal(number, signal.SIG_DFL)
    before = signal.getsignal(number)
    stop = Stop()
    with interruptible(stop):
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


def test_under_nohup_the_end_of_the_terminal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with interruptible(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.number == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder / 'data', layout='sysu', ids=8, seed=0, images=1, workers=1)
    return folder / 'data'


def words(people: Path, work_dir: Path) -> list[str]:
    config = str(ROOT / 'configs/tffn_demo.py')
    return ['train', config, '--data-root', str(people), '--work-dir', str(work_dir), '--cfg-options', *OPTIONS]


def has_begun(work_dir: Path) -> bool:
    lines = work_dir / 'metrics.jsonl'
    return lines.exists() and len(lines.read_text().splitlines()) > 2


def assert_saved(work_dir: Path, out: str) -> None:
    assert 'resume with: vireid train' in out
    saved = checkpoint.load(work_dir / 'checkpoints' / 'last.pt')
    assert saved['progress']['step'] == len((work_dir / 'metrics.jsonl').read_text().splitlines())


def test_a_batch_system_s_signal_saves_and_has_a_status_of_its_own(people, tmp_path):
    run = subprocess.Popen(
        [sys.executable, '-m', 'vireid', *words(people, tmp_path / 'run')],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(6000):
        if has_begun(tmp_path / 'run'):
            break
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    out, error = run.communicate(timeout=600)
    assert run.returncode == 143, error
    assert_saved(tmp_path / 'run', out)


def test_so_does_one_that_comes_before_the_time_is_up(people, tmp_path, capsys):
    """SIGUSR1, sent here to the process of the tests itself."""
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.05):
            if has_begun(tmp_path / 'run'):
                os.kill(os.getpid(), signal.SIGUSR1)
                return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        status = main(words(people, tmp_path / 'run'))
    finally:
        ended.set()
        sender.join()
    assert status == 138
    assert_saved(tmp_path / 'run', capsys.readouterr().out)


@pytest.mark.usefixtures('deaths_are_noticed_soon')
def test_a_signal_to_all_processes_before_an_epoch_s_first_batch_moves_no_schedule(people, tmp_path):
    """It ends the loader process too; the rate of an epoch schedule must not fall for an epoch that was not trained."""

    def made() -> Experiment:
        whole = faults.experiment(people, faults.Kind(workers=1)).to_config()
        whole['images']['train'] = [{'type': 'Stop'}, *whole['images']['train']]
        manager = faults.create_manager()
        manager.register(faults, 'faults')
        manager.register(Stopping(str(tmp_path / 'stop')), 'stopping')
        return Experiment.from_config(whole, manager)

    train(made(), tmp_path / 'whole')
    (tmp_path / 'stop').touch()
    with pytest.raises(Interrupted) as stopped:
        train(made(), tmp_path / 'cut')
    assert stopped.value.status == 143
    last = tmp_path / 'cut/checkpoints/last.pt'
    assert checkpoint.load(last)['progress']['step'] == 0
    train(made(), tmp_path / 'cut', resume=last)
    assert faults.same(faults.ended_with(tmp_path / 'whole'), faults.ended_with(tmp_path / 'cut'))


class Stopping:
    """Brings a transform that, once, ends the run's main process and its own loader process by SIGTERM."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    @hookimpl
    def register_components(self, add: Any) -> None:
        main = os.getpid()

        def stop(image: Any) -> Any:
            if os.getpid() != main and os.path.exists(self.marker):
                os.unlink(self.marker)
                os.kill(main, signal.SIGTERM)
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGKILL)
            return image

        add('transforms', 'Stop', lambda: stop)
