"""MSEL against its definition, image by image, for distances on a line, and for batches without a term."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch, TooFew
from vireid.plugins.losses.msel import MSEL

# visible, then infrared; identity 2 has no infrared images, identity 3 only one, and the images are in no order
PERSONS = torch.tensor([0, 1, 0, 2, 1, 3, 3, 1, 0, 0, 3, 1])
COUNTS = {'visible': 7, 'infrared': 5}


def loss_of(feature: torch.Tensor, persons: torch.Tensor, counts: dict[str, int]) -> torch.Tensor:
    return MSEL()(HeadOutput(feature), persons, Context(counts, persons))


def literal(feature: torch.Tensor, persons: list[int], counts: dict[str, int]) -> torch.Tensor:
    """The definition with plain loops."""
    modalities = [m for m, count in counts.items() for _ in range(count)]
    images = range(len(persons))
    means = []
    for modality in counts:
        terms = []
        for i in images:
            if modalities[i] != modality:
                continue
            same = [j for j in images if persons[j] == persons[i] and j != i]
            own = [(feature[i] - feature[j]).norm() for j in same if modalities[j] == modality]
            other = [(feature[i] - feature[j]).norm() for j in same if modalities[j] != modality]
            if own and other:
                terms.append((sum(other) / len(other) - sum(own) / len(own)) ** 2)
        if terms:
            means.append(sum(terms) / len(terms))
    return sum(means) / len(means)


@pytest.mark.parametrize(
    'counts', [COUNTS, {'visible': 4, 'infrared': 4, 'x': 4}], ids=['two modalities', 'three modalities']
)
def test_equals_the_literal_loop_with_gradients(counts):
    torch.manual_seed(0)
    feature = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    loss, expected = loss_of(feature, PERSONS, counts), literal(feature, PERSONS.tolist(), counts)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # one identity on a line; visible at 0 and 1, infrared at 3 and 5
    feature = torch.tensor([[0.0], [1.0], [3.0], [5.0]])
    loss = loss_of(feature, torch.zeros(4, dtype=torch.int64), {'visible': 2, 'infrared': 2})
    # visible 0: (3 + 5) / 2 - 1 = 3; visible 1: (2 + 4) / 2 - 1 = 2; infrared 3: (3 + 2) / 2 - 2; infrared 5: 4.5 - 2
    visible, infrared = (3**2 + 2**2) / 2, (0.5**2 + 2.5**2) / 2
    assert loss.item() == pytest.approx((visible + infrared) / 2, abs=1e-5)


def test_each_modality_has_the_same_weight_however_many_images_it_has():
    feature = torch.tensor([[0.0], [1.0], [1.0], [1.0], [4.0], [4.0]])
    persons = torch.tensor([0, 0, 0, 0, 0, 0])
    # visible 0: 4 - 1 = 3; visible 1 (three times): 3 - 1/3; infrared 4 (twice): (4 + 9) / 4 - 0
    visible, infrared = (3**2 + 3 * (3 - 1 / 3) ** 2) / 4, 3.25**2
    assert loss_of(feature, persons, {'visible': 4, 'infrared': 2}).item() == pytest.approx(
        (visible + infrared) / 2, abs=1e-4
    )


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 10))
def test_it_does_not_depend_on_the_order_a_shift_or_a_rotation_and_grows_with_the_square_of_the_scale(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(12, 6, dtype=torch.float64, generator=generator)
    loss = loss_of(feature, PERSONS, COUNTS).item()
    order = torch.cat([torch.randperm(7, generator=generator), 7 + torch.randperm(5, generator=generator)])
    turned = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=generator)).Q
    moved = scale * feature[order] @ turned + torch.randn(6, dtype=torch.float64, generator=generator)
    assert loss_of(moved, PERSONS[order], COUNTS).item() == pytest.approx(scale**2 * loss, rel=1e-9)


@pytest.mark.parametrize('counts', [{'visible': 4}, {'visible': 0, 'infrared': 4}, {'visible': 2, 'infrared': 2}])
def test_without_an_identity_in_two_modalities_it_is_zero_with_a_zero_gradient(counts):
    torch.manual_seed(0)
    feature = torch.randn(4, 3, requires_grad=True)
    loss = loss_of(feature, torch.tensor([0, 0, 1, 1]), counts)
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_one_image_per_modality_is_refused():
    persons = torch.tensor([0, 1, 0, 1])
    with pytest.raises(TooFew, match='MSEL') as caught:
        loss_of(torch.randn(4, 3), persons, {'visible': 2, 'infrared': 2})
    for flag in ('sampler.visible=2', 'sampler.infrared=2'):
        assert flag in caught.value.todo


def test_equal_features_have_a_finite_gradient():
    feature = torch.ones(8, 3, requires_grad=True)
    loss = loss_of(feature, torch.arange(2).repeat_interleave(2).repeat(2), {'visible': 4, 'infrared': 4})
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_full_precision_under_autocast_and_from_half_precision():
    torch.manual_seed(0)
    feature = 300 * (1 + 0.01 * torch.randn(8, 768))  # squared lengths of 7e7, above float16's 65504
    persons, counts = torch.arange(2).repeat(4), {'visible': 4, 'infrared': 4}
    full = loss_of(feature, persons, counts)
    with torch.autocast('cpu', torch.bfloat16):
        assert loss_of(feature, persons, counts).item() == full.item()
    assert loss_of(feature.half(), persons, counts).isfinite()
    assert loss_of(feature.half(), persons, counts).dtype == torch.float32


def test_parts_are_refused():
    with pytest.raises(Mismatch, match=r'parts[\s\S]*\breads\b'):
        loss_of(torch.zeros(4, 3, 4), torch.zeros(4, dtype=torch.int64), {'visible': 2, 'infrared': 2})
