"""HeteroCenterTriplet against its definition, center by center, and for centers on a line."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.types import Context, HeadOutput
from vireid.plugins.losses.hetero_center_triplet import HeteroCenterTriplet

# visible, then infrared; identity 2 has no infrared images, identity 3 only one, and the images are in no order
PERSONS = torch.tensor([0, 1, 0, 2, 1, 3, 3, 1, 0, 0, 3, 1])
COUNTS = {'visible': 7, 'infrared': 5}


def literal(feature: torch.Tensor, persons: torch.Tensor, counts: dict[str, int], margin: float) -> torch.Tensor:
    """The definition with plain loops, for one vector per image."""
    modalities = [m for m, count in counts.items() for _ in range(count)]
    images: dict[tuple[int, str], list[torch.Tensor]] = {}
    for i, person in enumerate(persons.tolist()):
        images.setdefault((person, modalities[i]), []).append(feature[i])
    centers = {key: sum(rows) / len(rows) for key, rows in images.items()}
    terms = []
    for (person, modality), center in centers.items():
        own = [(center - c).norm() for (p, m), c in centers.items() if p == person and m != modality]
        others = [(center - c).norm() for (p, _), c in centers.items() if p != person]
        if own:
            terms.append(max(0 * own[0], margin + max(own) - min(others)) if others else 0 * own[0])
    return sum(terms) / len(terms)


def loss_of(feature: torch.Tensor, persons: torch.Tensor, counts: dict[str, int], margin: float = 0.3) -> torch.Tensor:
    return HeteroCenterTriplet(margin)(HeadOutput(feature), persons, Context(counts, persons))


@pytest.mark.parametrize('margin', [0.3, 3.0])
@pytest.mark.parametrize(
    'counts', [COUNTS, {'visible': 4, 'infrared': 4, 'x': 4}], ids=['two modalities', 'three modalities']
)
def test_equals_the_literal_loop_with_gradients(margin, counts):
    torch.manual_seed(0)
    feature = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    loss, expected = loss_of(feature, PERSONS, counts, margin), literal(feature, PERSONS, counts, margin)
    assert expected > 0
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_parts_are_summed_each_with_its_own_centers():
    torch.manual_seed(0)
    feature = torch.randn(12, 3, 6, dtype=torch.float64, requires_grad=True)
    loss = loss_of(feature, PERSONS, COUNTS, 3.0)
    expected = sum(literal(feature[:, part], PERSONS, COUNTS, 3.0) for part in range(3))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # centers on a line; visible: 0 at 1, 1 at 4; infrared: 0 at 0, 1 at 2
    feature = torch.tensor([[0.0], [2.0], [4.0], [0.0], [2.0]])
    persons = torch.tensor([0, 0, 1, 0, 1])
    loss = loss_of(feature, persons, {'visible': 3, 'infrared': 2}, 0.5)
    # positive distances: 1 for identity 0, 2 for 1; nearest other center of 1: 2, of 0: 2, of 4: 1, of 2: 1
    terms = [max(0, 0.5 + 1 - 1), max(0, 0.5 + 2 - 3), max(0, 0.5 + 1 - 2), max(0, 0.5 + 2 - 1)]
    # visible 0 at 1: nearest of identity 1 is 2, 1 away; visible 1 at 4: nearest of identity 0 is 1, 3 away
    assert loss.item() == pytest.approx(sum(terms) / 4, abs=1e-6)


@given(seed=st.integers(0, 99))
def test_the_order_of_the_images_within_a_modality_does_not_matter(seed):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(12, 6, dtype=torch.float64, generator=generator)
    order = torch.cat([torch.randperm(7, generator=generator), 7 + torch.randperm(5, generator=generator)])
    shuffled = loss_of(feature[order], PERSONS[order], COUNTS, 3.0)
    assert shuffled.item() == pytest.approx(loss_of(feature, PERSONS, COUNTS, 3.0).item(), abs=1e-12)


@pytest.mark.parametrize(
    ('persons', 'counts'),
    [
        ([0, 0, 0, 0], {'visible': 2, 'infrared': 2}),  # no negative
        ([0, 0, 1, 1], {'visible': 2, 'infrared': 2}),  # no identity in both
        ([0, 0, 1, 1], {'infrared': 4}),  # one modality
        ([0, 0, 1, 1], {'visible': 4, 'infrared': 0}),  # one modality without images
    ],
)
def test_without_positives_or_negatives_it_is_zero_with_a_zero_gradient(persons, counts):
    feature = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = loss_of(feature, torch.tensor(persons), counts)
    loss.backward()
    assert loss.item() == 0
    assert feature.grad is not None
    assert feature.grad.abs().max() == 0


def test_equal_features_have_a_finite_gradient():
    feature = torch.ones(4, 3, requires_grad=True)
    loss = loss_of(feature, torch.tensor([0, 1, 0, 1]), {'visible': 2, 'infrared': 2}, 0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert feature.grad is not None
    assert torch.isfinite(feature.grad).all()


def test_keeps_full_precision_under_autocast():
    torch.manual_seed(0)
    feature = torch.nn.functional.normalize(1 + 0.01 * torch.randn(12, 64), dim=1)  # nearly equal vectors
    full = loss_of(feature, PERSONS, COUNTS)
    with torch.autocast('cpu', torch.bfloat16):
        assert loss_of(feature, PERSONS, COUNTS).item() == full.item()


def test_promotes_half_precision_and_keeps_float64():
    feature = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert loss_of(feature.to(dtype), PERSONS, COUNTS).dtype == wanted


def test_learns_to_find_across_the_modalities():
    """Both modalities show the identity through different random matrices, so that the untrained maps do not agree."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(6, 8, generator=generator)
    shown = {m: torch.randn(8, 16, generator=generator) for m in ('visible', 'infrared')}

    def draw(shots: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        persons = torch.arange(6).repeat_interleave(shots)
        images = [centers[persons] @ mix for mix in shown.values()]
        return [image + 0.5 * torch.randn(image.shape, generator=generator) for image in images], persons

    def rank_1(maps: list[torch.Tensor]) -> float:
        (visible, infrared), persons = draw(20)
        nearest = torch.cdist(infrared @ maps[1], visible @ maps[0]).argmin(dim=1)
        return (persons[nearest] == persons).double().mean().item()

    maps = [(0.2 * torch.randn(16, 8, generator=generator)).requires_grad_() for _ in shown]
    untrained = rank_1([m.detach() for m in maps])
    optimizer = torch.optim.Adam(maps, lr=0.02)
    for _ in range(150):
        images, persons = draw(4)
        feature = torch.cat([image @ own for image, own in zip(images, maps, strict=True)])
        loss = loss_of(feature, persons.repeat(2), {'visible': 24, 'infrared': 24})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = rank_1([m.detach() for m in maps])
    assert untrained < 0.4  # by chance 1/6
    assert trained > 0.9
