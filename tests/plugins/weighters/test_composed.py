"""Composed: each task is weighed by one part; a part may read all tasks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from vireid.core.types import Progress
from vireid.errors import Conflict, Mismatch, MissingKey, UnknownKey, UnknownName, WrongValue
from vireid.plugin_manager.manager import create_manager

NAMES = ('low', 'middle', 'high', 'glfm')
UNCERTAINTY = {'type': 'HomoscedasticUncertainty', 'tasks': ('low', 'middle', 'high'), 'start': 0}


def composed(**parts: Any) -> Any:
    return create_manager().components.build(
        'weighters', {'type': 'Composed', 'parts': parts}, where='model.weighter', task_names=NAMES
    )


def losses(*values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(float(value)) for name, value in zip(NAMES, values, strict=True)}


def at(step: int) -> Progress:
    return Progress(step // 2, step, 2, 100)


def test_uncertainty_on_three_tasks_and_a_warm_up_on_the_fourth():
    weighter = composed(levels=UNCERTAINTY, graph={'type': 'WarmUp', 'tasks': {'glfm': 'linear'}, 'epochs': 4})
    weighter.parts['levels'].log_variance.data = torch.tensor([0.0, 1.0, -1.0])
    total, weights = weighter(losses(1.0, 2.0, 3.0, 8.0), at(4))  # 2 of 4 epochs: lambda 0.5
    wanted = 1 / 2 + (2 * math.exp(-1) / 2 + 1 / 2) + (3 * math.exp(1) / 2 - 1 / 2) + 0.5 * 8
    assert total.item() == pytest.approx(wanted, rel=1e-6)
    assert list(weights) == list(NAMES)
    assert weights['glfm'].item() == 0.5
    assert weights['middle'].item() == pytest.approx(math.exp(-1) / 2)
    curves = weighter.curves()
    assert list(curves) == ['sigma', 'lambda']
    assert curves['lambda']['glfm'].item() == 0.5
    assert curves['sigma']['high'].item() == pytest.approx(math.exp(-0.5))


def test_the_adaptive_warm_up_follows_the_tasks_of_the_other_parts():
    weighter = composed(levels=UNCERTAINTY, graph={'type': 'WarmUp', 'tasks': {'glfm': 'adaptive'}})
    seen = [weighter(losses(1, 2, 3, 9), at(step))[1]['glfm'].item() for step in range(3)]
    assert seen == pytest.approx([0, 0, 1 / (1 + 6)])


def test_state_and_parameters_of_the_parts_are_its_own():
    weighter = composed(levels=UNCERTAINTY, graph={'type': 'WarmUp', 'tasks': {'glfm': 'adaptive'}})
    assert [name for name, _ in weighter.named_parameters()] == ['parts.levels.log_variance']
    assert 'parts.graph.adaptive' in weighter.state_dict()


def test_a_part_that_is_none_is_left_out():
    weighter = composed(levels=None, all={'type': 'Fixed', 'tasks': dict.fromkeys(NAMES, 2.0)})
    assert weighter(losses(1, 1, 1, 1), at(0))[0].item() == 8


GRAPH = {'type': 'WarmUp', 'tasks': {'glfm': 'linear'}}


@pytest.mark.parametrize(
    ('parts', 'error', 'fact'),
    [
        ({}, WrongValue, r'model\.weighter: parts'),
        ({'levels': UNCERTAINTY}, Mismatch, "'glfm'"),
        (
            {'levels': UNCERTAINTY, 'graph': {'type': 'WarmUp', 'tasks': {'glfm': 'linear', 'low': 'linear'}}},
            Conflict,
            r"'low' .*parts\.levels and parts\.graph",
        ),
        ({'levels': {'type': 'HomoscedasticUncertainty'}, 'graph': GRAPH}, MissingKey, r'parts\.levels\.tasks'),
        (
            {'levels': {**UNCERTAINTY, 'tasks': ('low', 'midle')}, 'graph': GRAPH},
            UnknownName,
            r"parts\.levels\.tasks: .*'midle'.*'middle'",
        ),
        ({'levels': {**UNCERTAINTY, 'start': 2.0}, 'graph': GRAPH}, WrongValue, r'parts\.levels: start is 2'),
        ({'levels': {**UNCERTAINTY, 'begin': 0}, 'graph': GRAPH}, UnknownKey, r'parts\.levels\.begin'),
        ({'all': {'type': 'WarmUp', 'tasks': dict.fromkeys(NAMES, 'linear')}}, WrongValue, r'parts\.all: '),
    ],
)
def test_refuses_tasks_that_are_covered_twice_or_not_at_all(parts, error, fact):
    with pytest.raises(error, match=fact) as caught:
        composed(**parts)
    assert caught.value.path.startswith('model.weighter')
