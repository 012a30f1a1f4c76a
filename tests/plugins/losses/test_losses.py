"""CrossEntropy and BatchHardTriplet against numbers computed by hand and literal loops."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.core.types import HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.batch_hard_triplet import BatchHardTriplet
from vireid.plugins.losses.cross_entropy import CrossEntropy


def output(feature=None, logits=None) -> HeadOutput:
    return HeadOutput(feature=torch.tensor(feature if feature is not None else [[0.0]]), logits=logits)


def test_cross_entropy_of_even_logits_is_log_k():
    loss = CrossEntropy()(output(logits=torch.zeros(2, 5)), torch.tensor([0, 3]))
    assert loss.item() == pytest.approx(math.log(5))


def test_cross_entropy_is_summed_over_parts():
    logits = torch.randn(4, 3, 5)
    identities = torch.tensor([0, 1, 2, 3])
    parts = [torch.nn.functional.cross_entropy(logits[:, p], identities) for p in range(3)]
    assert CrossEntropy()(output(logits=logits), identities).item() == pytest.approx(sum(parts).item(), rel=1e-6)


def test_label_smoothing_by_hand():
    # logits (log 3, 0): p = (3/4, 1/4); target (0.9, 0.1) for smoothing 0.2 over two classes
    loss = CrossEntropy(0.2)(output(logits=torch.tensor([[math.log(3), 0.0]])), torch.tensor([0]))
    assert loss.item() == pytest.approx(-(0.9 * math.log(0.75) + 0.1 * math.log(0.25)))


def test_cross_entropy_needs_logits():
    with pytest.raises(Mismatch, match=r'CrossEntropy .*logits'):
        CrossEntropy()(output(), torch.tensor([0]))


FEATURE = [[0.0], [1.0], [3.0], [7.0]]  # on a line; identities 0, 0, 1, 1
PERSONS = torch.tensor([0, 0, 1, 1])
# farthest positive: 1, 1, 4, 4; nearest negative: 3, 2, 2, 6; gaps: -2, -1, 2, -2


def test_triplet_with_a_margin_by_hand():
    loss = BatchHardTriplet(margin=1.5)(output(FEATURE), PERSONS)
    assert loss.item() == pytest.approx((0 + 0.5 + 3.5 + 0) / 4, abs=1e-5)


def test_triplet_with_a_soft_margin_by_hand():
    loss = BatchHardTriplet(margin=None)(output(FEATURE), PERSONS)
    wanted = sum(math.log(1 + math.exp(gap)) for gap in (-2, -1, 2, -2)) / 4
    assert loss.item() == pytest.approx(wanted, abs=1e-5)


def test_triplet_equals_a_literal_loop():
    torch.manual_seed(0)
    feature, persons = torch.randn(12, 6), torch.arange(12) % 4
    terms = []
    for i in range(12):
        distances = [float((feature[i] - feature[j]).norm()) for j in range(12)]
        own = max(d for j, d in enumerate(distances) if persons[j] == persons[i])
        other = min(d for j, d in enumerate(distances) if persons[j] != persons[i])
        terms.append(max(0.0, 0.3 + own - other))
    loss = BatchHardTriplet(0.3)(HeadOutput(feature), persons)
    assert loss.item() == pytest.approx(sum(terms) / 12, abs=1e-5)


def test_triplet_of_equal_features_has_a_finite_gradient():
    feature = torch.ones(4, 3, requires_grad=True)
    BatchHardTriplet(0.3)(HeadOutput(feature), PERSONS).backward()
    assert torch.isfinite(feature.grad).all()


@pytest.mark.parametrize('margin', [0.3, None])
def test_triplet_of_one_identity_is_zero_with_a_zero_gradient(margin):
    feature = torch.randn(4, 3, requires_grad=True)
    loss = BatchHardTriplet(margin)(HeadOutput(feature), torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_triplet_keeps_full_precision_under_autocast():
    torch.manual_seed(0)
    feature = torch.nn.functional.normalize(1 + 0.01 * torch.randn(8, 64), dim=1)  # nearly equal vectors
    persons = torch.arange(8) % 2
    full = BatchHardTriplet(0.3)(HeadOutput(feature), persons)
    with torch.autocast('cpu', torch.bfloat16):
        assert BatchHardTriplet(0.3)(HeadOutput(feature), persons).item() == full.item()


def test_triplet_refuses_parts():
    with pytest.raises(Mismatch, match=r'BatchHardTriplet .*parts'):
        BatchHardTriplet()(HeadOutput(torch.zeros(2, 3, 4)), torch.tensor([0, 1]))


@pytest.mark.parametrize('loss', [BatchHardTriplet(0.3), BatchHardTriplet(None), CrossEntropy(), CrossEntropy(0.1)])
def test_losses_promote_half_precision_and_keep_float64(loss):
    torch.manual_seed(0)
    feature, logits = torch.randn(8, 16), torch.randn(8, 4)
    persons = torch.arange(8) % 4
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert loss(HeadOutput(feature.to(dtype), logits.to(dtype)), persons).dtype == wanted


def test_the_triplet_of_float64_is_its_definition_to_the_last_digits():
    torch.manual_seed(0)
    feature, persons = torch.randn(8, 16, dtype=torch.float64), torch.arange(8) % 4
    total = 0.0
    for a in range(8):
        distances = [float((feature[a] - other).square().sum().sqrt()) for other in feature]
        farthest = max(d for d, identity in zip(distances, persons, strict=True) if identity == persons[a])
        nearest = min(d for d, identity in zip(distances, persons, strict=True) if identity != persons[a])
        total += max(0.0, 0.3 + farthest - nearest) / 8
    assert BatchHardTriplet(0.3)(HeadOutput(feature), persons).item() == pytest.approx(total, abs=1e-12)
