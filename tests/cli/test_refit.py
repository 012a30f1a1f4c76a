"""A second training on all people, for as long as was best for people held out of the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import vireid
from vireid.boundary import checkpoint
from vireid.cli import main
from vireid.core.config.overrides import Overrides
from vireid.core.scoring import evaluator
from vireid.errors import Conflict, UnknownKey, VireidError
from vireid.launch.preflight import find_problems
from vireid.launch.refit import second
from vireid.plugin_manager.manager import create_manager
from vireid.reporting import result_file
from vireid.studies.jobs import finish, make_job

BASE = str(Path(__file__).parents[2] / 'configs' / 'tffn_sysu.py')
CONFIG = """
_base_ = {base!r}
dataset = dict(root={root!r}, train_lists=['train'])
refit = dict(dataset=dict(train_lists=['train', 'val']))
training = dict(epochs=None, steps=3, evaluate_every=1, precision='32-true')
evaluation = dict(select='validation', select_by='mAP', before_training=True)
images = dict(size=(32, 16), workers=0)
model = dict(
    backbone=dict(depth=18, weights=None, out_stages=(2, 3)),
    necks=dict(s2=dict(channels=64), s3=dict(channels=64), s4=dict(inputs='stage3', channels=64)),
)
sampler = dict(identities=3, visible=6, infrared=6)  # one step in an epoch of the first training
protocol = dict(trials=1)
loggers = [dict(type='MetricsFile')]
"""
STOPPER = """
import os, signal, vireid

@vireid.hookimpl
def step_ended(run, progress):
    if run.work_dir.name == os.environ.get('STOP_IN') and progress.step == 1:
        os.kill(os.getpid(), signal.SIGINT)
"""
SIDE = {'slope': 9.0, 'offset': -4.0, 'growth': 1.0, 'images': 3.0, 'place': 0.2, 'scale': 0.1}
CALIBRATION = {'people': 5, 'visible': SIDE, 'infrared': SIDE}


@pytest.fixture
def config(small_sysu: Path, tmp_path: Path) -> Path:
    path = tmp_path / 'few.py'
    path.write_text(CONFIG.format(base=BASE, root=str(small_sysu)))
    return path


@pytest.fixture
def best_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the evaluation after a given step the best on the validation people, who also calibrate the model."""

    def choose(step: int) -> None:
        monkeypatch.setattr(evaluator, '_calibrate', lambda embeddings: CALIBRATION)
        value = 'vireid.core.training.selection.Selection.value'
        monkeypatch.setattr(value, lambda self, results: float(f'after step {step} ' in f'{results.weights} '))

    return choose


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(run / 'checkpoints/last.pt')['model']


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_all_people_are_trained_on_from_the_start_for_the_selected_steps(config, best_after, tmp_path, capsys):
    best_after(2)
    run = tmp_path / 'run'
    assert main(['train', str(config), '--work-dir', str(run)]) == 0
    assert 'after step 2' in capsys.readouterr().out.split('few, selection')[1].splitlines()[0]
    first, found = (checkpoint.load(place / 'checkpoints/last.pt') for place in (run / 'selection', run))
    assert (first['num_identities'], found['num_identities']) == (3, 5)
    assert (first['progress']['step'], found['progress']['step']) == (3, 2)
    assert found['calibration'] == CALIBRATION  # that of the held-out people
    # its config is a config like any other
    assert main(['train', str(run / 'config.yaml'), '--work-dir', str(tmp_path / 'alone')]) == 0
    assert same(weights(tmp_path / 'alone'), weights(run))
    # Python and a study train the same
    assert same(vireid.train(config, tmp_path / 'python').model.state_dict(), weights(run))
    experiment = vireid.load_experiment(config)
    job = make_job(experiment, Overrides(), tmp_path / 'study', 'few')
    finish(job)
    assert same(weights(tmp_path / 'study'), weights(run))
    finish(job)
    assert capsys.readouterr().out.count('(finished before)') == 1
    again = make_job(experiment.with_overrides({'evaluation.flip': True}), Overrides(), tmp_path / 'study', 'few')
    finish(again)  # with another row: its weights are scored, not trained
    assert capsys.readouterr().out.count('(trained before, scored again)') == 1


def test_training_that_does_not_help_is_not_repeated(config, best_after, tmp_path):
    best_after(0)
    assert main(['train', str(config), '--work-dir', str(tmp_path / 'run')]) == 0
    found = checkpoint.load(tmp_path / 'run/checkpoints/last.pt')
    assert (found['progress']['step'], found['num_identities']) == (0, 5)
    untrained = vireid.load_experiment(config).build_model(5, pretrained=False)
    assert all(torch.equal(value, found['model'][name]) for name, value in untrained.named_parameters())
    assert result_file.read(tmp_path / 'run')['rows']


@pytest.fixture
def stopped(config: Path, best_after: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains in `tmp_path` until the first step in a folder of the given name, then sends SIGINT."""
    best_after(2)
    monkeypatch.chdir(tmp_path)
    Path('stopper.py').write_text(STOPPER)

    def train(folder: str, *more: str) -> None:
        monkeypatch.setenv('STOP_IN', folder)
        assert main(['train', str(config), '--plugin', 'stopper.py', *more]) == 130
        monkeypatch.delenv('STOP_IN')

    return train


@pytest.mark.parametrize('folder', ['selection', 'run'])
def test_stopped_in_either_training_it_continues_there(stopped, config, capsys, folder):
    assert main(['train', str(config), '--work-dir', 'whole']) == 0
    stopped(folder, '--work-dir', 'run')
    assert Path('run/checkpoints').exists() == (folder == 'run')
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('resume with: '))
    assert main(said.removeprefix('resume with: vireid ').split()) == 0
    assert same(weights(Path('run')), weights(Path('whole')))
    assert checkpoint.load(Path('run/checkpoints/last.pt'))['calibration'] == CALIBRATION


@pytest.mark.parametrize('folder', ['selection', 'few'])
def test_resume_without_a_folder_finds_either_training(stopped, config, folder):
    stopped(folder)
    assert main(['train', str(config), '--resume', '--plugin', 'stopper.py']) == 0
    assert checkpoint.load(Path('runs/few/checkpoints/last.pt'))['progress']['step'] == 2


def problems(config: Path, **sections: Any) -> list[VireidError]:
    found = vireid.load_experiment(config).to_config() | sections
    return find_problems(found, create_manager())


def test_its_settings_are_checked_before_the_first_training(config):
    (error,) = problems(config, refit={'dataset': {'train_list': ['val']}})
    assert (type(error), error.path) == (UnknownKey, 'refit.dataset.train_list')
    (error,) = problems(config, refit={'dataset': 3})
    assert error.path.startswith('refit')
    (error,) = problems(config, stages=['other.py'])
    assert (type(error), error.path) == (Conflict, 'refit')
    (error,) = problems(config, evaluation={'select': 'last'})
    assert (type(error), error.path) == (Conflict, 'refit')


def test_the_second_experiment_selects_nothing(config):
    found = second(vireid.load_experiment(config), 7)
    assert (found.training.steps, found.training.epochs, found.training.evaluate_every) == (7, None, None)
    assert (found.evaluation.select, found.evaluation.before_training, found.refit) == ('last', False, None)
    assert found.dataset['train_lists'] == ['train', 'val']
