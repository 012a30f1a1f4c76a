"""DCL against its definition, center by center, for distances on a line, and where 0 / 0 threatens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.dcl import DCL
from vireid.plugins.losses.msel import MSEL

PERSONS = torch.tensor([0, 1, 0, 2, 1, 3, 3, 1, 0, 0, 3, 1])  # in no order and number


def loss_of(feature: torch.Tensor, persons: torch.Tensor) -> torch.Tensor:
    return DCL()(HeadOutput(feature), persons)


def literal(feature: torch.Tensor, persons: list[int]) -> torch.Tensor:
    """The definition with plain loops."""
    positives, near_means = [], []
    for person in sorted(set(persons)):
        own = [row for row, p in zip(feature, persons, strict=True) if p == person]
        center = sum(own) / len(own)
        # the norm has no gradient where the only image is its own center
        positives += [(center - row).square().sum().clamp_min(1e-24).sqrt() for row in own]
        far = [(center - row).norm() for row, p in zip(feature, persons, strict=True) if p != person]
        near = [d for d in far if d < sum(far) / len(far)]
        near_means.append(sum(near) / len(near))
    return (sum(positives) / len(positives)) / (sum(near_means) / len(near_means))


@pytest.mark.parametrize('persons', [PERSONS, torch.arange(6).repeat(2)], ids=['any number', 'K = 1'])
def test_equals_the_literal_loop_with_gradients(persons):
    torch.manual_seed(0)
    feature = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    loss, expected = loss_of(feature, persons), literal(feature, persons.tolist())
    # the center of one image is 1e-6 from it
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10 if persons is not PERSONS else 1e-7)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10 if persons is not PERSONS else 1e-7)


def test_by_hand():
    # on a line: 0 and 2 with center 1, 4 and 10 with center 7
    feature = torch.tensor([[0.0], [4.0], [2.0], [10.0]])
    loss = loss_of(feature, torch.tensor([0, 1, 0, 1]))
    positive = (1 + 1 + 3 + 3) / 4
    # from 1: 3 and 9 with mean 6, 3 is nearer; from 7: 7 and 5 with mean 6, 5 is nearer
    assert loss.item() == pytest.approx(positive / ((3 + 5) / 2), abs=1e-6)


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 10))
def test_it_does_not_depend_on_the_order_a_shift_a_rotation_or_the_scale(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    persons = torch.arange(4).repeat(3)
    feature = torch.randn(12, 6, dtype=torch.float64, generator=generator)
    order = torch.randperm(12, generator=generator)
    turned = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=generator)).Q
    moved = scale * feature[order] @ turned + torch.randn(6, dtype=torch.float64, generator=generator)
    assert loss_of(moved, persons[order]).item() == pytest.approx(loss_of(feature, persons).item(), rel=1e-9)


def test_equally_far_images_count_with_their_mean():
    # corners of a regular tetrahedron, two images each, pushed apart along another axis: every other image is equally
    # far from a center, so that none is nearer than the mean
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).repeat(2, 1)
    feature = torch.cat([corners, torch.tensor([1.0, -1]).repeat_interleave(4)[:, None]], dim=1).requires_grad_()
    loss = loss_of(feature, torch.arange(4).repeat(2))
    loss.backward()
    assert loss.item() == pytest.approx(1 / 3, abs=1e-6)  # 1 to the own images; sqrt(8 + 1) to the others
    assert torch.isfinite(feature.grad).all()
    assert feature.grad.abs().max() > 0


def test_equal_features_have_a_finite_gradient():
    feature = torch.ones(8, 3, requires_grad=True)
    loss = loss_of(feature, torch.arange(4).repeat(2))
    loss.backward()
    assert loss.item() == pytest.approx(1)
    assert torch.isfinite(feature.grad).all()


def test_one_identity_is_zero_with_a_zero_gradient():
    torch.manual_seed(0)
    feature = torch.randn(4, 3, requires_grad=True)
    loss = loss_of(feature, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_full_precision_under_autocast_and_from_half_precision():
    torch.manual_seed(0)
    feature = 300 * (1 + 0.01 * torch.randn(8, 768))  # squared lengths of 7e7, above float16's 65504
    persons = torch.arange(4).repeat(2)
    full = loss_of(feature, persons)
    with torch.autocast('cpu', torch.bfloat16):
        assert loss_of(feature, persons).item() == full.item()
    assert loss_of(feature.half(), persons).isfinite()
    assert loss_of(feature.half(), persons).dtype == torch.float32


def test_parts_are_refused():
    with pytest.raises(Mismatch, match=r'parts[\s\S]*\breads\b'):
        loss_of(torch.zeros(4, 3, 4), torch.arange(2).repeat(2))


def test_with_msel_it_learns_to_find_across_modalities_that_show_identities_differently():
    """Six identities as points in 16 dimensions, shown by each modality in its own rotation, and in noise."""
    generator = torch.Generator().manual_seed(0)
    centers = 2 * torch.randn(6, 16, generator=generator)
    shown = [torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q for _ in range(2)]

    def draw(shots: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        persons = torch.arange(6).repeat_interleave(shots)
        images = [centers[persons] @ turned for turned in shown]
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
        both = persons.repeat(2)
        enhancement = MSEL()(HeadOutput(feature), both, Context({'visible': 24, 'infrared': 24}, both))
        loss = loss_of(feature, both) + 0.5 * enhancement
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert untrained < 0.4  # by chance 1/6
    assert rank_1([m.detach() for m in maps]) > 0.9
