"""The scalars for external trackers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vireid.plugins.loggers.scalars import evaluation_scalars, step_scalars


def test_a_step_has_its_loss_its_tasks_its_weights_and_its_curves():
    record = {
        'loss': 3.5,
        'tasks': {'s2.id': 1.5},
        'weights': {'s2.id': 0.5},
        'curves': {'loss of': {'all': 2.0}},
        'lr': 0.01,
        'gradient': 9.0,
        'skipped': 1,
    }
    assert step_scalars(record) == {
        'loss': 3.5,
        'lr': 0.01,
        'gradient': 9.0,
        'tasks/s2_id': 1.5,
        'weights/s2_id': 0.5,
        'curves/loss_of/all': 2.0,
    }


def test_a_step_of_someones_own_may_tell_its_loss_alone():
    assert step_scalars({'loss': 1.0}) == {'loss': 1.0}


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_what_is_not_finite_is_left_out(value):
    assert step_scalars({'loss': value, 'tasks': {'a': value, 'b': 1.0}}) == {'tasks/b': 1.0}


def test_an_evaluation_has_each_metric_of_each_row_in_percent(two_rows):
    found = evaluation_scalars(two_rows)
    assert {name: found[f'test/all_1_shot/{name}'] for name in ('R1', 'R5', 'mAP', 'mINP')} == {
        'R1': 0.0,
        'R5': 100.0,
        'mAP': 50.0,
        'mINP': 50.0,
    }
    assert found['test/all_1_shot_flip/mAP'] == 50.0
    assert len(found) == 12


def test_an_evaluation_on_validation_identities_is_not_called_a_test(two_rows):
    found = evaluation_scalars(replace(two_rows, split='validation'))
    assert all(name.startswith('validation/') for name in found)
