"""MLflow with an SQLite file, read back by its client."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vireid.errors import MissingPackage
from vireid.plugins.loggers.mlflow import ID_FILE, MLflow


@pytest.fixture(autouse=True, scope='module')
def alone() -> Iterator[None]:
    """Disables the network and the user's settings; mlflow must be imported after this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MLFLOW_DISABLE_TELEMETRY', 'true')
        patch.delenv('MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT', raising=False)
        patch.delenv('MLFLOW_TRACKING_URI', raising=False)
        yield


@pytest.fixture(scope='module')
def new_store(alone: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store that the logger created, with a run, and the printed output; shared, as creating its tables is slow."""
    folder = tmp_path_factory.mktemp('runs') / 'earlier'
    folder.mkdir()
    experiment = SimpleNamespace(name='earlier', to_config=lambda: {'seed': 1})
    run = SimpleNamespace(work_dir=folder, experiment=experiment, resumed=False)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        logger = MLflow('earlier')
        logger.run_started(run)
        logger.run_ended(finished=True)
    return folder.parent / 'mlflow.db', printed.getvalue()


@pytest.fixture
def run(make_run: Any, new_store: tuple[Path, str]) -> SimpleNamespace:
    """A run with a copy of such a store next to its folder."""
    found = make_run()
    shutil.copyfile(new_store[0], found.work_dir.parent / 'mlflow.db')
    return found


def stored(run: SimpleNamespace, name: str = 'vireid') -> list[Any]:
    """Returns the runs of an experiment in the file next to the run folder."""
    client = client_of(run)
    return client.search_runs([client.get_experiment_by_name(name).experiment_id])


def client_of(run: SimpleNamespace) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f'sqlite:///{run.work_dir.parent / "mlflow.db"}')


def history(run: SimpleNamespace, name: str) -> list[tuple[int, float]]:
    """Returns the (step, value) pairs of a metric of the only run."""
    (found,) = stored(run)
    return [(m.step, m.value) for m in client_of(run).get_metric_history(found.info.run_id, name)]


def test_steps_and_evaluations_are_metrics_and_the_config_is_parameters(run, take_steps, two_rows):
    logger = MLflow()
    logger.run_started(run)
    take_steps(logger, 1, 3, two_rows)
    logger.run_ended(finished=True)
    assert history(run, 'loss') == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert history(run, 'tasks/b') == [(1, 4.0), (2, 4.0), (3, 4.0)]
    assert history(run, 'test/all_1_shot/mAP') == [(3, 50.0)]
    (found,) = stored(run)
    assert (found.info.run_name, found.info.status) == ('a run', 'FINISHED')
    metrics = found.data.metrics
    assert (metrics['weights/a'], metrics['curves/loss_of/a'], metrics['lr']) == (1.0, 0.25, 0.125)
    assert found.data.params == {
        'name': 'a run',
        'seed': '7',
        'model.backbone.depth': '18',
        'model.backbone.weights': 'None',
        'images.size': '(32, 16)',
        'images.train.0.type': 'Resize',
        'images.train.1.type': 'ToFloat',
        'step.groups.backbone._.lr': '0.5',
    }


def test_nothing_is_printed_not_even_when_the_tables_are_made(new_store, run, take_steps, capfd):
    assert new_store[1] == ''
    logger = MLflow()
    logger.run_started(run)
    take_steps(logger, 1, 1)
    logger.run_ended(finished=True)
    assert capfd.readouterr() == ('', '')


def test_what_is_not_finite_is_left_out(run, take_steps):
    logger = MLflow()
    logger.run_started(run)
    take_steps(logger, 1, 3)
    logger.run_ended(finished=True)
    assert history(run, 'gradient') == [(1, 8.0), (3, 8.0)]


def test_steps_are_sent_before_the_checkpoint_of_an_epoch(run, take_steps):
    logger = MLflow()
    logger.run_started(run)
    take_steps(logger, 1, 300)  # more metrics than fit into one batch
    logger.epoch_ended()
    assert [step for step, _ in history(run, 'loss')] == list(range(1, 301))
    logger.run_ended(finished=True)


def test_many_and_long_parameters_fit(run):
    values = {f'a{number}': number for number in range(250)}
    run.experiment.to_config = lambda: {**values, 'b' * 300: 'c' * 7000, 'nothing': [], 'none': {}}
    logger = MLflow()
    logger.run_started(run)
    logger.run_ended(finished=True)
    params = stored(run)[0].data.params
    assert len(params) == 253
    assert params['a249'] == '249'
    assert params['b' * 250] == 'c' * 6000
    assert (params['nothing'], params['none']) == ('[]', '{}')


def test_an_interrupted_run_is_killed_and_goes_on_under_its_id(run, make_run, take_steps):
    logger = MLflow()
    logger.run_started(run)
    take_steps(logger, 1, 2)
    logger.run_ended(finished=False)
    assert stored(run)[0].info.status == 'KILLED'
    logger = MLflow()
    logger.run_started(make_run(step=2, resumed=True))
    assert stored(run)[0].info.status == 'RUNNING'
    take_steps(logger, 3, 4)
    logger.run_ended(finished=True)
    assert stored(run)[0].info.status == 'FINISHED'
    assert history(run, 'loss') == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_a_new_run_in_the_same_folder_has_another_id(run, make_run):
    for _ in range(2):
        logger = MLflow('an experiment')
        logger.run_started(make_run())
        logger.run_ended(finished=True)
    found = {r.info.run_id for r in stored(run, 'an experiment')}
    assert len(found) == 2
    assert (run.work_dir / ID_FILE).read_text().strip() in found


@pytest.mark.parametrize('given', ['argument', 'environment'])
def test_another_store_may_be_named(run, new_store, tmp_path, monkeypatch, given):
    own = tmp_path / f'{given}.db'  # MLflow keeps the connection of an address
    shutil.copyfile(new_store[0], own)
    if given == 'environment':
        monkeypatch.setenv('MLFLOW_TRACKING_URI', f'sqlite:///{own}')
    logger = MLflow(uri=f'sqlite:///{own}' if given == 'argument' else None)
    logger.run_started(run)
    logger.run_ended(finished=True)
    assert client_of(run).get_experiment_by_name('vireid') is None
    from mlflow import MlflowClient

    assert MlflowClient(f'sqlite:///{own}').get_experiment_by_name('vireid') is not None


def test_scoring_a_checkpoint_writes_nothing(make_run, take_steps, two_rows):
    logger = MLflow()
    take_steps(logger, 1, 1, two_rows)
    logger.run_ended(finished=True)
    assert [path.name for path in make_run().work_dir.parent.iterdir()] == ['first']


@pytest.mark.parametrize('package', ['mlflow', 'sqlalchemy', 'alembic'])
def test_without_a_package_it_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=f'MLflow .* {package}') as caught:
        MLflow()
    assert caught.value.todo == 'pip install "vireid[mlflow]"'


def test_a_server_needs_no_store_of_our_own(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sqlalchemy', None)
    MLflow(uri='http://localhost:5000')
