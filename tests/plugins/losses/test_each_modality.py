"""EachModality is the sum of another loss over the modalities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vireid.core.types import Context, HeadOutput
from vireid.plugins.losses.batch_hard_triplet import BatchHardTriplet
from vireid.plugins.losses.cross_entropy import CrossEntropy
from vireid.plugins.losses.each_modality import EachModality

# visible, infrared, x: identity 2 has no infrared images
PERSONS = torch.tensor([0, 0, 1, 2, 0, 1, 1, 0, 1, 2])
CONTEXT = Context({'visible': 4, 'infrared': 3, 'x': 3}, PERSONS, torch.arange(10))
ROWS = [range(4), range(4, 7), range(7, 10)]


def each(loss: nn.Module) -> EachModality:
    def build_part(kind: str, part: Any, key: str) -> nn.Module:
        assert (kind, key) == ('losses', 'loss')
        return loss

    return EachModality(build_part, 'any')


def random_output() -> HeadOutput:
    generator = torch.Generator().manual_seed(0)
    feature, logits = (torch.randn(10, n, generator=generator, dtype=torch.float64) for n in (5, 3))
    return HeadOutput(feature.requires_grad_(), logits.requires_grad_())


# two images per identity and modality: a single image is its own farthest positive, at the clamped distance
PAIRS = torch.tensor([0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0])
PAIR_ROWS = {'visible': range(4), 'infrared': range(4, 8), 'x': range(8, 12)}


def literal_triplet(feature: torch.Tensor, margin: float) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for rows in PAIR_ROWS.values():
        for i in rows:
            own = max((feature[i] - feature[j]).norm() for j in rows if PAIRS[j] == PAIRS[i] and j != i)
            other = min((feature[i] - feature[j]).norm() for j in rows if PAIRS[j] != PAIRS[i])
            total = total + max(0.0 * own, margin + own - other) / len(rows)
    return total


@pytest.mark.parametrize('margin', [0.3, 4.0])
def test_hard_triplets_equal_the_literal_loop_with_gradients(margin):
    torch.manual_seed(0)
    feature = torch.randn(12, 5, dtype=torch.float64, requires_grad=True)
    context = Context({m: len(rows) for m, rows in PAIR_ROWS.items()}, PAIRS)
    loss = each(BatchHardTriplet(margin))(HeadOutput(feature), PAIRS, context)
    expected = literal_triplet(feature, margin)
    assert expected > 0
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_cross_entropy_equals_the_literal_loop_with_gradients():
    output = random_output()
    loss = each(CrossEntropy())(output, PERSONS, CONTEXT)
    expected = torch.zeros((), dtype=torch.float64)
    for rows in ROWS:
        for i in rows:
            share = torch.exp(output.logits[i, PERSONS[i]]) / sum(torch.exp(x) for x in output.logits[i])
            expected = expected - torch.log(share) / len(rows)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    found, wanted = (torch.autograd.grad(value, output.logits)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # across modalities the nearest negative would be at 0; within a modality it never is
    feature = torch.tensor([[0.0], [1.0], [4.0], [4.0], [0.0]])
    persons = torch.tensor([0, 0, 1, 0, 1])
    within = each(BatchHardTriplet(2.5))(HeadOutput(feature), persons, Context({'visible': 3, 'infrared': 2}, persons))
    # visible: (1 - 4 + 2.5)+ = 0, (1 - 3 + 2.5)+ = 0.5, (0 - 3 + 2.5)+ = 0; infrared: (0 - 4 + 2.5)+ = 0 twice
    assert within.item() == pytest.approx(0.5 / 3, abs=1e-5)


class Knows(nn.Module):
    """Records its context."""

    reads_parts = False

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[dict, list[int], list[int], bool]] = []

    def forward(self, output: HeadOutput, identities: torch.Tensor, context: Context) -> torch.Tensor:
        assert context.identities is not None
        assert context.cameras is not None
        (modality,) = context.counts
        assert context.identities[context.rows(modality)].tolist() == identities.tolist()
        self.told.append((dict(context.counts), identities.tolist(), context.cameras.tolist(), output.logits is None))
        return output.feature.sum()


def test_the_inner_loss_is_told_of_one_modality():
    inner = Knows()
    loss = each(inner)
    output = HeadOutput(random_output().feature)
    assert loss(output, PERSONS, CONTEXT).item() == pytest.approx(output.feature.sum().item())
    assert inner.told == [
        ({'visible': 4}, [0, 0, 1, 2], [0, 1, 2, 3], True),
        ({'infrared': 3}, [0, 1, 1], [4, 5, 6], True),
        ({'x': 3}, [0, 1, 2], [7, 8, 9], True),
    ]
    assert loss.reads_parts is False
    assert each(CrossEntropy()).reads_parts is True


def test_a_modality_without_images_is_passed_over():
    output = random_output()
    both = Context({'visible': 10, 'infrared': 0}, PERSONS)
    assert each(CrossEntropy())(output, PERSONS, both).item() == CrossEntropy()(output, PERSONS).item()


def test_one_identity_and_equal_features_have_finite_gradients():
    feature = torch.ones(4, 3, requires_grad=True)
    persons = torch.zeros(4, dtype=torch.int64)
    loss = each(BatchHardTriplet(0.3))(HeadOutput(feature), persons, Context({'visible': 2, 'infrared': 2}, persons))
    loss.backward()
    assert loss.item() == 0
    assert feature.grad is not None
    assert feature.grad.abs().max() == 0
