"""TensorBoard event files, read back by TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vireid.errors import MissingPackage
from vireid.launch import launch
from vireid.plugins.loggers.tensorboard import TensorBoard

event_accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')


def read(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], str]:
    """Returns the (step, value) of each scalar that TensorBoard would show, and the config."""
    found = event_accumulator.EventAccumulator(str(folder))
    found.Reload()
    tags = found.Tags()
    config = found.Tensors('config/text_summary')[0].tensor_proto.string_val[0].decode()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags['scalars']}, config


def test_steps_and_evaluations_are_scalars_and_the_config_a_text(make_run, take_steps, two_rows, capfd):
    run, logger = make_run(), TensorBoard()
    logger.run_started(run)
    take_steps(logger, 1, 3, two_rows)
    logger.run_ended()
    scalars, config = read(run.work_dir / 'tensorboard')
    assert scalars['loss'] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert scalars['tasks/b'] == [(1, 4.0), (2, 4.0), (3, 4.0)]
    assert scalars['weights/a'][0] == (1, 1.0)
    assert scalars['curves/loss_of/a'][0] == (1, 0.25)
    assert scalars['lr'][0] == (1, 0.125)
    assert scalars['test/all_1_shot/mAP'] == [(3, 50.0)]
    assert scalars['test/all_1_shot_flip/R1'] == [(3, 0.0)]
    assert '    seed: 7\n' in config
    assert capfd.readouterr() == ('', '')


def test_what_is_not_finite_is_left_out(make_run, take_steps):
    run, logger = make_run(), TensorBoard('events')
    logger.run_started(run)
    take_steps(logger, 1, 3)
    logger.run_ended()
    assert read(run.work_dir / 'events')[0]['gradient'] == [(1, 8.0), (3, 8.0)]


def test_a_resumed_run_hides_the_steps_after_its_checkpoint(make_run, take_steps, two_rows):
    logger = TensorBoard()
    logger.run_started(make_run())
    take_steps(logger, 1, 2, two_rows)
    take_steps(logger, 3, 5)
    logger.run_ended()  # the latest checkpoint is of step 2
    logger = TensorBoard()
    logger.run_started(make_run(step=2, resumed=True))
    take_steps(logger, 3, 4)
    logger.run_ended()
    scalars, _ = read(make_run().work_dir / 'tensorboard')
    assert scalars['loss'] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert scalars['test/all_1_shot/mAP'] == [(2, 50.0)]


def test_a_new_run_hides_an_earlier_one(make_run, take_steps):
    for last in (5, 2):
        logger = TensorBoard()
        logger.run_started(make_run())
        take_steps(logger, 1, last)
        logger.run_ended()
    assert read(make_run().work_dir / 'tensorboard')[0]['loss'] == [(1, 1.0), (2, 2.0)]


def test_scoring_a_checkpoint_writes_nothing(take_steps, two_rows):
    logger = TensorBoard()
    take_steps(logger, 1, 1, two_rows)
    logger.run_ended()


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboard', None)
    with pytest.raises(MissingPackage, match=r'TensorBoard .* tensorboard') as caught:
        TensorBoard()
    assert caught.value.todo == 'pip install "vireid[tensorboard]"'


def test_a_real_run_tells_its_validation_from_its_test(small_sysu, tmp_path, make_small):
    options = ['evaluation.select=validation', 'training.evaluate_every=1', 'training.epochs=1']
    options += ["dataset.train_lists=['train']", 'loggers=[{"type": "TensorBoard"}]']
    launch.train(make_small(small_sysu, *options), tmp_path)
    scalars, _ = read(tmp_path / 'tensorboard')
    evaluations = {name.partition('/')[0] for name in scalars if name.endswith('/R1')}
    assert evaluations == {'validation', 'test'}
    assert 'weights/glfm' in scalars
