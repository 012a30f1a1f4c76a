"""CrossModalCosineTriplet by hand, and against its definition as a literal loop."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.errors import WrongValue
from vireid.plugins.losses.cross_modal_cosine_triplet import CrossModalCosineTriplet


def literal(feature, visible, infrared, among, margin):
    """The mean over anchors of [margin - lowest cosine of a positive + highest of a negative]+, anchor by anchor."""
    ids = [*visible, *infrared]
    rows = {VISIBLE: range(len(visible)), INFRARED: range(len(visible), len(ids))}
    total = torch.zeros((), dtype=feature.dtype)
    for modality in among:
        others = [i for m in among if m != modality or len(among) == 1 for i in rows[m]]
        terms = []
        for a in rows[modality]:
            cosines = {i: feature[a] @ feature[i] / (feature[a].norm() * feature[i].norm()) for i in others}
            positives = [c for i, c in cosines.items() if ids[i] == ids[a]]
            negatives = [c for i, c in cosines.items() if ids[i] != ids[a]]
            if positives and negatives:
                terms.append(torch.relu(margin - torch.stack(positives).min() + torch.stack(negatives).max()))
        if terms:
            total = total + torch.stack(terms).mean()
    return total


@pytest.mark.parametrize('among', [(VISIBLE, INFRARED), (INFRARED,)])
@pytest.mark.parametrize(
    ('visible', 'infrared'),
    [([0, 0, 1, 1], [0, 0, 1, 1]), ([0, 1, 2], [2, 1, 1, 3]), ([0, 0, 1], [1, 1])],
)
def test_equals_the_literal_loop_with_gradients(among, visible, infrared):
    torch.manual_seed(0)
    ids = torch.tensor([*visible, *infrared])
    feature = torch.randn(len(ids), 4, dtype=torch.float64, requires_grad=True)
    context = Context({VISIBLE: len(visible), INFRARED: len(infrared)}, ids)
    found = CrossModalCosineTriplet(0.7, among)(HeadOutput(feature), ids, context)
    wanted = literal(feature, visible, infrared, among, 0.7)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-10)
    if wanted.requires_grad:
        gradients = [torch.autograd.grad(value, feature)[0] for value in (found, wanted)]
        assert torch.allclose(*gradients, rtol=0, atol=1e-10)


def test_by_hand():
    # each identity lies on an axis in the visible images; infrared ones are turned by 0 and by 90 degrees
    feature = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 0.0]])
    ids = torch.tensor([0, 1, 0, 1])
    context = Context({VISIBLE: 2, INFRARED: 2}, ids)
    # visible anchors: (1 - 1 + 1) and (1 - 0 + 0); infrared ones: (1 - 1 + 0) and (1 - 0 + 1)
    assert CrossModalCosineTriplet()(HeadOutput(feature), ids, context).item() == (1 + 1) / 2 + (0 + 2) / 2


def test_without_a_triplet_it_is_zero_with_a_gradient():
    feature = torch.randn(4, 3, requires_grad=True)
    ids = torch.zeros(4, dtype=torch.int64)
    loss = CrossModalCosineTriplet()(HeadOutput(feature), ids, Context({VISIBLE: 2, INFRARED: 2}, ids))
    assert loss.item() == 0
    loss.backward()
    assert not feature.grad.any()


@pytest.mark.parametrize('among', [(), (VISIBLE, VISIBLE)])
def test_what_it_refuses(among):
    with pytest.raises(WrongValue, match='among'):
        CrossModalCosineTriplet(among=among)


def test_keeps_full_precision_under_autocast():
    torch.manual_seed(0)
    ids = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    feature = 1 + 0.01 * torch.randn(8, 64)  # in half precision, all similarities would be 1
    given = HeadOutput(feature), ids, Context({VISIBLE: 4, INFRARED: 4}, ids)
    exact = CrossModalCosineTriplet(0.0)(*given)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(CrossModalCosineTriplet(0.0)(*given), exact)
    assert 0 < exact < 0.001
