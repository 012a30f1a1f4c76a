"""WarmUp and Fixed: TFFN Eq. 6."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Progress
from vireid.errors import UnknownName, WrongValue
from vireid.plugins.weighters.fixed import Fixed
from vireid.plugins.weighters.warm_up import WarmUp

NAMES = ('s2', 's3', 's4', 'mlfm', 'glfm')


def losses(*values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in zip(NAMES, values, strict=True)}


def at(step: int, steps_per_epoch: int = 2) -> Progress:
    return Progress(step // steps_per_epoch, step, steps_per_epoch, 100)


def test_eq_6_is_the_hand_added_sum():
    weighter = WarmUp(NAMES, {'glfm': 'linear'}, epochs=4)
    total, weights = weighter(losses(1.5, 2.0, 2.5, 3.0, 8.0), at(4))  # 2 of 4 epochs: lambda 0.5
    assert total.item() == pytest.approx(1.5 + 2.0 + 2.5 + 3.0 + 0.5 * 8.0, abs=1e-12)
    assert {name: w.item() for name, w in weights.items()} == {'s2': 1, 's3': 1, 's4': 1, 'mlfm': 1, 'glfm': 0.5}


def test_adaptive_is_0_in_the_first_epoch_then_one_over_one_plus_the_mean_of_the_others():
    weighter = WarmUp(NAMES, {'glfm': 'adaptive'})
    seen = []
    epochs = [[(1, 1, 1, 1, 9), (2, 2, 2, 2, 9)], [(1, 0, 0, 1, 9), (1, 1, 1, 1, 9)], [(0, 0, 0, 0, 9)] * 2]
    for step, values in enumerate(v for epoch in epochs for v in epoch):
        _, weights = weighter(losses(*values), at(step))
        seen.append(weights['glfm'].item())
    # the other losses sum to 4 and 8 in epoch 0, mean 6; to 2 and 4 in epoch 1, mean 3
    assert seen == pytest.approx([0, 0, 1 / 7, 1 / 7, 1 / 4, 1 / 4])


def test_adaptive_goes_on_after_a_resume_in_the_middle_of_an_epoch():
    values = [(1, 1, 1, 1, 9), (2, 2, 2, 2, 9), (1, 0, 0, 1, 9), (1, 1, 1, 1, 9), (0, 0, 0, 0, 9)]
    whole = WarmUp(NAMES, {'glfm': 'adaptive'})
    wanted = [whole(losses(*v), at(step))[1]['glfm'].item() for step, v in enumerate(values)]
    for cut in range(1, 5):
        first = WarmUp(NAMES, {'glfm': 'adaptive'})
        for step in range(cut):
            first(losses(*values[step]), at(step))
        second = WarmUp(NAMES, {'glfm': 'adaptive'})
        second.load_state_dict(first.state_dict())
        found = [second(losses(*values[step]), at(step))[1]['glfm'].item() for step in range(cut, 5)]
        assert found == wanted[cut:]


def test_adaptive_does_not_count_evaluation():
    weighter = WarmUp(NAMES, {'glfm': 'adaptive'})
    weighter(losses(1, 0, 0, 0, 0), at(0))
    weighter.eval()
    weighter(losses(100, 0, 0, 0, 0), at(1))
    weighter.train()
    assert weighter(losses(1, 0, 0, 0, 0), at(2))[1]['glfm'].item() == pytest.approx(1 / 2)


def test_no_gradient_flows_through_the_weight():
    weighter = WarmUp(('a', 'b'), {'b': 'adaptive'})
    a = torch.tensor(3.0, requires_grad=True)
    for step in range(3):
        total, _ = weighter({'a': a, 'b': torch.tensor(8.0)}, at(step))
    assert torch.autograd.grad(total, a)[0].item() == 1


@pytest.mark.parametrize(
    ('curve', 'wanted'), [('linear', [0, 0.25, 0.5, 0.75, 1, 1]), ('cosine', [0, 0.1464, 0.5, 0.8536, 1, 1])]
)
def test_linear_and_cosine_curves(curve, wanted):
    weighter = WarmUp(('a', 'b'), {'b': curve}, epochs=2)
    one = {'a': torch.tensor(1.0), 'b': torch.tensor(1.0)}
    found = [weighter(one, at(step))[1]['b'].item() for step in range(6)]
    assert found == pytest.approx(wanted, abs=1e-4)


def test_fixed_weights():
    weighter = Fixed(NAMES, {'s2': 0.5, 'glfm': 0})
    total, weights = weighter(losses(2, 1, 1, 1, 100), at(0))
    assert total.item() == 4
    assert weights['s2'].item() == 0.5


@pytest.mark.parametrize('weighter', [lambda t: Fixed(NAMES, t), lambda t: WarmUp(NAMES, t)])
def test_a_task_that_no_head_makes_is_named(weighter):
    with pytest.raises(UnknownName, match=r"'glmf'.*'glfm'"):
        weighter({'glmf': 'adaptive'})


def test_not_every_task_can_warm_up():
    with pytest.raises(WrongValue, match='tasks'):
        WarmUp(('a',), {'a': 'linear'})


def test_the_adaptive_weight_of_float64_is_float64():
    """E is the mean of 1/3 and 2/3 over the first epoch: lambda is 1 / (1 + 1/2)."""
    weighter = WarmUp(('base', 'graph'), {'graph': 'adaptive'}).double()
    losses = [torch.tensor(n / 3, dtype=torch.float64) for n in (1, 2)]
    for step, loss in enumerate(losses):
        weighter({'base': loss, 'graph': loss}, Progress(0, step, 2, 10))
    _, weights = weighter({'base': losses[0], 'graph': losses[0]}, Progress(1, 2, 2, 10))
    assert weights['graph'].dtype == torch.float64
    assert weights['graph'].item() == pytest.approx(1 / (1 + (1 / 3 + 2 / 3) / 2), abs=1e-15)
