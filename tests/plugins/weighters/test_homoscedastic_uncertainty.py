"""HomoscedasticUncertainty: the closed form of DMCF Eq. 15, its optimum, bounds and start."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from vireid.core.config.settings import TrainingSettings
from vireid.core.types import Progress
from vireid.errors import Mismatch, UnknownName, WrongValue
from vireid.plugins.weighters.homoscedastic_uncertainty import HomoscedasticUncertainty

NAMES = ('low', 'middle', 'high')
LOSSES = (0.5, 2.0, 7.0)


def losses(*values: float) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in zip(NAMES, values, strict=True)
    }


def at(step: int) -> Progress:
    return Progress(step // 10, step, 10, 100)


def test_value_and_gradients_equal_the_closed_form():
    weighter = HomoscedasticUncertainty(NAMES, start=0).double()
    s = [-1.2, 0.3, 2.5]
    weighter.log_variance.data = torch.tensor(s, dtype=torch.float64)
    tasks = losses(*LOSSES)
    total, weights = weighter(tasks, at(0))
    total.backward()
    sigma = [math.exp(x / 2) for x in s]
    wanted = sum(loss / (2 * g**2) + math.log(g) for loss, g in zip(LOSSES, sigma, strict=True))
    assert total.item() == pytest.approx(wanted, abs=1e-12)
    for position, name in enumerate(NAMES):
        weight = 1 / (2 * sigma[position] ** 2)
        assert weights[name].item() == pytest.approx(weight, abs=1e-12)
        assert tasks[name].grad.item() == pytest.approx(weight, abs=1e-12)
        # d/ds of exp(-s) / 2 * L + s / 2
        slope = -math.exp(-s[position]) / 2 * LOSSES[position] + 0.5
        assert weighter.log_variance.grad[position].item() == pytest.approx(slope, abs=1e-12)


def test_at_the_optimum_the_variance_equals_the_loss():
    weighter = HomoscedasticUncertainty(NAMES, start=0).double()
    optimizer = torch.optim.SGD(weighter.parameters(), lr=0.5)
    for step in range(150):
        optimizer.zero_grad()
        weighter(losses(*LOSSES), Progress(0, step, 1, 10_000))[0].backward()
        optimizer.step()
    assert weighter.log_variance.exp().tolist() == pytest.approx(LOSSES, rel=1e-4)
    assert weighter.curves()['sigma']['high'].item() ** 2 == pytest.approx(7.0, rel=1e-4)


@pytest.mark.parametrize(('bound', 'pushing', 'pulling'), [(-2.0, 0.0, 1.0), (5.0, 1e4, 1.0)])
@pytest.mark.parametrize('kind', [torch.optim.SGD, torch.optim.Adam])
def test_a_variance_is_held_at_its_bound_and_leaves_it_when_the_loss_changes(kind, bound, pushing, pulling):
    weighter = HomoscedasticUncertainty(('low',), start=0).double()
    # Adam's default second beta would need too many steps to forget the earlier gradients
    settings = {'lr': 0.5} if kind is torch.optim.SGD else {'lr': 0.1, 'betas': (0.9, 0.9)}
    optimizer = kind(weighter.parameters(), **settings)

    def step(loss: float) -> float:
        optimizer.zero_grad()
        total, weights = weighter({'low': torch.tensor(loss, dtype=torch.float64)}, at(0))
        total.backward()
        optimizer.step()
        return weights['low'].item()

    for _ in range(200):
        used = step(pushing)
    assert used == pytest.approx(math.exp(-bound) / 2)
    assert weighter.curves()['sigma']['low'].item() == pytest.approx(math.exp(bound / 2))
    step(pulling)
    assert weighter.log_variance.grad.abs().item() > 0.2  # the full gradient, at the bound
    for _ in range(400):
        step(pulling)
    assert weighter.log_variance.item() == pytest.approx(0.0, abs=0.05)  # sigma^2 = the loss = 1


def test_before_its_start_the_total_is_the_plain_sum_and_nothing_moves():
    weighter = HomoscedasticUncertainty(NAMES, start=0.6)
    weighter.log_variance.data = torch.tensor([0.1, 0.2, 0.3])
    before = weighter.log_variance.detach().clone()
    optimizer = torch.optim.Adam(weighter.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(61):
        tasks = losses(*LOSSES)
        total, weights = weighter(tasks, at(step))
        if step < 60:
            assert total.item() == sum(LOSSES)
            assert {weight.item() for weight in weights.values()} == {1.0}
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert torch.equal(weighter.log_variance, before) == (step < 60)


@pytest.mark.parametrize(
    ('start', 'by', 'first'), [(0.6, 'fraction', 60), (3, 'epoch', 30), (17, 'step', 17), (0, 'step', 0)]
)
def test_starts_at_a_fraction_an_epoch_or_a_step(start, by, first):
    weighter = HomoscedasticUncertainty(NAMES, start=start, by=by)
    assert next(step for step in range(100) if weighter.started(at(step))) == first


def test_goes_on_after_a_resume_as_if_nothing_had_happened():
    def train(weighter, optimizer, steps):
        for step in steps:
            optimizer.zero_grad()
            weighter(losses(*(loss + step / 50 for loss in LOSSES)), at(step))[0].backward()
            optimizer.step()

    whole = HomoscedasticUncertainty(NAMES, start=0.2)
    optimizer = torch.optim.Adam(whole.parameters(), lr=0.01)
    train(whole, optimizer, range(40))
    saved = copy.deepcopy((whole.state_dict(), optimizer.state_dict()))
    train(whole, optimizer, range(40, 90))

    resumed = HomoscedasticUncertainty(NAMES, start=0.2)
    resumed.load_state_dict(saved[0])
    optimizer = torch.optim.Adam(resumed.parameters(), lr=0.01)
    optimizer.load_state_dict(saved[1])
    train(resumed, optimizer, range(40, 90))
    assert torch.equal(resumed.log_variance, whole.log_variance)


def test_the_last_step_is_weighed_however_late_the_fraction_or_short_the_run():
    late = HomoscedasticUncertainty(NAMES, start=0.9999)
    assert [late.started(Progress(0, step, 10, 300)) for step in (0, 298, 299)] == [False, False, True]
    assert HomoscedasticUncertainty(NAMES).started(Progress(0, 0, 1, 1))


def test_once_begun_it_stays_on_in_a_resumed_run_that_was_made_longer():
    weighter = HomoscedasticUncertainty(NAMES, start=0.6)
    weighter(losses(*LOSSES), Progress(0, 60, 10, 100))
    resumed = HomoscedasticUncertainty(NAMES, start=0.6)
    resumed.load_state_dict(weighter.state_dict())
    assert resumed.started(Progress(0, 61, 10, 1000))
    assert not HomoscedasticUncertainty(NAMES, start=0.6).started(Progress(0, 61, 10, 1000))


@pytest.mark.parametrize(
    ('arguments', 'error', 'facts'),
    [
        ({'tasks': ('low', 'middle')}, Mismatch, ["'high'", 'Composed']),
        ({'tasks': ('low', 'middle', 'hihg')}, UnknownName, ["'hihg'", "'high'"]),
        ({'start': 1.0}, WrongValue, ['start is 1 by fraction', 'Fixed']),
        ({'start': -1}, WrongValue, ['start is -1']),
        ({'start': math.nan}, WrongValue, ['start is nan']),
        ({'start': 500, 'by': 'step', 'training': TrainingSettings(steps=500)}, WrongValue, ['start is 500', ' 499\n']),
        (
            {'start': 499.5, 'by': 'step', 'training': TrainingSettings(steps=500)},
            WrongValue,
            [' 499.5 ', ' 499\n'],
        ),
        ({'start': 7, 'by': 'epoch', 'training': TrainingSettings(epochs=7)}, WrongValue, ['start is 7 by epoch']),
        (
            {'start': 70, 'by': 'step', 'training': TrainingSettings(epochs=7), 'steps_per_epoch': 10},
            WrongValue,
            ['start is 70', ' 69\n'],
        ),
        (
            {'start': 7, 'by': 'epoch', 'training': TrainingSettings(steps=70), 'steps_per_epoch': 10},
            WrongValue,
            ['start is 7', ' 6.9\n'],
        ),
        ({'bounds': (1, 5)}, WrongValue, ['bounds is (1, 5)']),
    ],
)
def test_refuses_impossible_arguments(arguments, error, facts):
    with pytest.raises(error) as caught:
        HomoscedasticUncertainty(NAMES, **arguments)
    for fact in facts:
        assert fact in str(caught.value)


def test_a_start_whose_end_is_not_known_yet_is_taken():
    HomoscedasticUncertainty(NAMES, start=70, by='step', training=TrainingSettings(epochs=7))
