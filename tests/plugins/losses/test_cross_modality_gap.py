"""CrossModalityGap against its definition, center by center, and for centers on a line."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.cross_modality_gap import CrossModalityGap

# visible, infrared, x: identity 2 has no infrared images, identity 3 only one
PERSONS = torch.tensor([0, 0, 1, 1, 2, 0, 0, 1, 1, 3, 0, 0, 1, 1, 2])
CONTEXT = Context({'visible': 5, 'infrared': 5, 'x': 5}, PERSONS)


def literal(feature: torch.Tensor, persons: torch.Tensor, rows: dict[str, range], margin: float) -> torch.Tensor:
    """The definition with plain loops, infrared against each other modality."""
    centers = {}
    for modality, own in rows.items():
        for person in set(persons.tolist()):
            images = [feature[i] for i in own if persons[i] == person]
            if images:
                centers[modality, person] = sum(images) / len(images)
    total = torch.zeros((), dtype=torch.float64)
    for other in rows:
        if other == 'infrared':
            continue
        terms = []
        for person in set(persons.tolist()):
            if ('infrared', person) not in centers or (other, person) not in centers:
                continue
            positive = (centers['infrared', person] - centers[other, person]).norm()
            negatives = []
            for someone in set(persons.tolist()) - {person}:
                for first, second in ((person, someone), (someone, person)):
                    if ('infrared', first) in centers and (other, second) in centers:
                        negatives.append((centers['infrared', first] - centers[other, second]).norm())
            terms.append(max(0.0 * positive, margin + positive - min(negatives)))
        total = total + sum(terms) / len(terms)
    return total


ROWS = {'visible': range(5), 'infrared': range(5, 10), 'x': range(10, 15)}


@pytest.mark.parametrize('margin', [0.5, 3.0])
def test_equals_the_literal_loop_with_gradients(margin):
    torch.manual_seed(0)
    feature = torch.randn(15, 6, dtype=torch.float64, requires_grad=True)
    loss = CrossModalityGap(margin)(HeadOutput(feature), PERSONS, CONTEXT)
    expected = literal(feature, PERSONS, ROWS, margin)
    assert expected > 0
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # centers on a line; visible: 0 at 1, 1 at 4; infrared: 0 at 0, 1 at 2
    feature = torch.tensor([[0.0], [2.0], [4.0], [0.0], [2.0]])
    persons = torch.tensor([0, 0, 1, 0, 1])
    loss = CrossModalityGap(0.5)(HeadOutput(feature), persons, Context({'visible': 3, 'infrared': 2}, persons))
    # identity 0: positive 1, nearest other min(|0 - 4|, |2 - 1|) = 1; identity 1: positive 2, nearest the same
    assert loss.item() == pytest.approx(((0.5 + 1 - 1) + (0.5 + 2 - 1)) / 2, abs=1e-6)


def test_each_other_modality_is_compared_with_the_anchor_alone():
    torch.manual_seed(0)
    feature = torch.randn(15, 6, dtype=torch.float64)
    whole = CrossModalityGap(3.0)(HeadOutput(feature), PERSONS, CONTEXT)
    pairs = []
    for other in ('visible', 'x'):
        rows = sorted([*ROWS[other], *ROWS['infrared']])
        known = Context({'infrared': 5, other: 5}, PERSONS[rows])
        pairs.append(CrossModalityGap(3.0)(HeadOutput(feature[rows]), PERSONS[rows], known).item())
    assert whole.item() == pytest.approx(sum(pairs), abs=1e-12)


@pytest.mark.parametrize(
    ('persons', 'counts'),
    [
        ([0, 0, 0, 0], {'visible': 2, 'infrared': 2}),  # no negative
        ([0, 0, 1, 1], {'visible': 2, 'infrared': 2}),  # no identity in both
        ([0, 0, 1, 1], {'infrared': 4}),  # no other modality
    ],
)
def test_without_positives_or_negatives_it_is_zero_with_a_zero_gradient(persons, counts):
    feature = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor(persons)
    loss = CrossModalityGap()(HeadOutput(feature), labels, Context(counts, labels))
    loss.backward()
    assert loss.item() == 0
    assert feature.grad is not None
    assert feature.grad.abs().max() == 0


def test_equal_features_have_a_finite_gradient():
    feature = torch.ones(4, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 1])
    loss = CrossModalityGap(0.5)(HeadOutput(feature), labels, Context({'visible': 2, 'infrared': 2}, labels))
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert feature.grad is not None
    assert torch.isfinite(feature.grad).all()


def test_keeps_full_precision_under_autocast():
    torch.manual_seed(0)
    feature = torch.nn.functional.normalize(1 + 0.01 * torch.randn(15, 64), dim=1)  # nearly equal vectors
    full = CrossModalityGap()(HeadOutput(feature), PERSONS, CONTEXT)
    with torch.autocast('cpu', torch.bfloat16):
        assert CrossModalityGap()(HeadOutput(feature), PERSONS, CONTEXT).item() == full.item()


def test_promotes_half_precision_and_keeps_float64():
    feature = torch.randn(15, 6, generator=torch.Generator().manual_seed(0))
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert CrossModalityGap()(HeadOutput(feature.to(dtype)), PERSONS, CONTEXT).dtype == wanted


def test_what_it_refuses():
    with pytest.raises(Mismatch, match=r'CrossModalityGap .*parts'):
        CrossModalityGap()(HeadOutput(torch.zeros(15, 2, 4)), PERSONS, CONTEXT)
    with pytest.raises(Mismatch, match="anchor is 'thermal'"):
        CrossModalityGap(anchor='thermal')(HeadOutput(torch.zeros(15, 4)), PERSONS, CONTEXT)
