"""Weights & Biases offline: the content of the file that `wandb sync` would upload."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vireid.errors import MissingPackage, NotReady
from vireid.plugins.loggers.weights_and_biases import WeightsAndBiases


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Disables the network and the user's settings."""
    for name in ('HOME', 'WANDB_CONFIG_DIR', 'WANDB_CACHE_DIR', 'WANDB_DATA_DIR'):
        monkeypatch.setenv(name, str(tmp_path / 'home'))
    for name in ('WANDB_API_KEY', 'WANDB_IDENTITY_TOKEN_FILE', 'NETRC'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_ERROR_REPORTING', 'false')
    end_session()  # wandb reads the environment only once
    yield
    end_session()


def end_session() -> None:
    """Ends the service of wandb, which flushes its files; wandb must be imported after the network is disabled."""
    import wandb

    wandb.teardown()


def records(work_dir: Path) -> Iterator[Any]:
    """Yields the records of the only offline file of a run, which is a LevelDB log with blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    end_session()
    (path,) = work_dir.glob('wandb/offline-run-*/*.wandb')
    content, at, parts = path.read_bytes(), 7, b''
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # too short for a header: padding
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from('<IHB', content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record or its last part
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b''


def rows(work_dir: Path) -> list[dict[str, Any]]:
    """Returns the logged rows as dicts."""
    found = [record.history for record in records(work_dir) if record.HasField('history')]
    return [{'/'.join(i.nested_key) or i.key: json.loads(i.value_json) for i in history.item} for history in found]


def test_steps_and_evaluations_are_rows_over_step(make_run, take_steps, two_rows, capfd):
    run, logger = make_run(), WeightsAndBiases('a project')
    logger.run_started(run)
    take_steps(logger, 1, 3, two_rows)
    logger.run_ended(finished=True)
    first, _, third, scores = rows(run.work_dir)
    assert (first['step'], first['loss'], first['tasks/b'], first['weights/a']) == (1, 1.0, 4.0, 1.0)
    assert (first['curves/loss_of/a'], first['lr'], first['gradient']) == (0.25, 0.125, 8.0)
    assert (third['step'], third['loss']) == (3, 3.0)
    assert (scores['step'], scores['test/all_1_shot/mAP'], scores['test/all_1_shot_flip/R1']) == (3, 50.0, 0.0)
    (started,) = [record.run for record in records(run.work_dir) if record.HasField('run')]
    assert (started.project, started.display_name) == ('a project', 'a run')
    config = {item.key: json.loads(item.value_json) for item in started.config.update}
    assert config['seed'] == 7
    assert config['model'] == {'backbone': {'depth': 18, 'weights': None}}
    metrics = [record.metric for record in records(run.work_dir) if record.HasField('metric')]
    assert ('*', 'step') in [(metric.glob_name, metric.step_metric) for metric in metrics]
    assert capfd.readouterr() == ('', '')


def test_what_is_not_finite_is_left_out(make_run, take_steps):
    run, logger = make_run(), WeightsAndBiases()
    logger.run_started(run)
    take_steps(logger, 1, 3)
    logger.run_ended(finished=True)
    assert [row.get('gradient') for row in rows(run.work_dir)] == [8.0, None, 8.0]


@pytest.mark.parametrize(('finished', 'status'), [(True, 0), (False, 1)])
def test_an_unfinished_run_is_marked(make_run, take_steps, finished, status):
    run, logger = make_run(), WeightsAndBiases()
    logger.run_started(run)
    take_steps(logger, 1, 1)
    logger.run_ended(finished=finished)
    assert [record.exit.exit_code for record in records(run.work_dir) if record.HasField('exit')] == [status]


def test_a_resumed_run_goes_on_under_its_id_and_a_new_one_has_another(make_run, take_steps):
    ids, steps = [], []
    for step, resumed in ((0, False), (2, True), (0, False)):
        run, logger = make_run(step, resumed), WeightsAndBiases()
        logger.run_started(run)
        take_steps(logger, step + 1, step + 2)
        logger.run_ended(finished=True)
        ids += [record.run.run_id for record in records(run.work_dir) if record.HasField('run')]
        steps.append([row['step'] for row in rows(run.work_dir)])
        shutil.rmtree(run.work_dir / 'wandb')  # folder names have a resolution of one second
    assert ids[0] == ids[1] != ids[2]
    assert steps == [[1, 2], [3, 4], [1, 2]]


def test_scoring_a_checkpoint_writes_nothing(make_run, take_steps, two_rows):
    logger = WeightsAndBiases()
    take_steps(logger, 1, 1, two_rows)
    logger.run_ended(finished=True)
    assert list(make_run().work_dir.iterdir()) == []


def test_disabled_writes_nothing_there(make_run, take_steps, two_rows):
    run, logger = make_run(), WeightsAndBiases(mode='disabled')
    logger.run_started(run)
    take_steps(logger, 1, 1, two_rows)
    logger.run_ended(finished=True)
    assert not (run.work_dir / 'wandb').exists()


def test_online_without_a_login_is_an_error_before_the_run(monkeypatch):
    monkeypatch.delenv('WANDB_MODE')
    end_session()
    with pytest.raises(NotReady, match='WeightsAndBiases') as caught:
        WeightsAndBiases()
    assert 'login' in caught.value.todo
    WeightsAndBiases(mode='offline')  # needs none


def test_without_the_package_it_says_what_to_install(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, 'wandb', None)
        with pytest.raises(MissingPackage, match=r'WeightsAndBiases .* wandb') as caught:
            WeightsAndBiases()
    assert caught.value.todo == 'pip install "vireid[wandb]"'
