"""LightGenerator generates the X modality from the visible images, pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE, Batch
from vireid.errors import Conflict, UnknownName
from vireid.plugins.translators.light_generator import LightGenerator

BOTH = {VISIBLE: 3, INFRARED: 3}


def batch(visible: torch.Tensor, infrared: torch.Tensor) -> Batch:
    identities = {VISIBLE: torch.arange(len(visible)), INFRARED: torch.arange(len(infrared))}
    cameras = {VISIBLE: torch.full((len(visible),), 1), INFRARED: torch.full((len(infrared),), 3)}
    paths = {VISIBLE: [f'v{i}' for i in range(len(visible))], INFRARED: [f'i{i}' for i in range(len(infrared))]}
    return Batch({VISIBLE: visible, INFRARED: infrared}, identities, cameras, paths)


def test_equals_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    generator = LightGenerator(BOTH).double()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter)
    images = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    made = generator(batch(images, torch.zeros(1, 3, 3, 2))).images['x']
    w1, b1 = generator.squeeze.weight, generator.squeeze.bias
    w2, b2 = generator.expand.weight, generator.expand.bias
    expected = torch.zeros_like(made)
    for n in range(2):
        for row in range(3):
            for column in range(2):
                inner = sum(w1[0, c, 0, 0] * images[n, c, row, column] for c in range(3)) + b1[0]
                inner = inner if inner > 0 else 0 * inner
                for c in range(3):
                    expected[n, c, row, column] = w2[c, 0, 0, 0] * inner + b2[c]
    assert torch.allclose(made, expected, rtol=0, atol=1e-10)
    direction, leaves = torch.randn_like(made), [images, *generator.parameters()]
    found = torch.autograd.grad((made * direction).sum(), leaves)
    wanted = torch.autograd.grad((expected * direction).sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_at_first_it_is_the_positive_part_of_gray():
    generator = LightGenerator(BOTH)
    pixels = torch.tensor([[1.0, 2.0, 6.0], [-1.0, -2.0, 0.0]]).view(2, 3, 1, 1)
    made = generator(batch(pixels, torch.zeros(1, 3, 1, 1))).images['x']
    assert made.flatten(1).tolist() == [pytest.approx([1.0] * 3), [0.0] * 3]


def test_x_inherits_from_visible_and_the_others_stay():
    given = batch(torch.ones(2, 3, 4, 2), torch.zeros(3, 3, 4, 2))
    made = LightGenerator(BOTH)(given)
    assert made.images['x'].shape == (2, 3, 4, 2)
    assert made.images[VISIBLE] is given.images[VISIBLE]
    assert made.images[INFRARED] is given.images[INFRARED]
    assert made.identities['x'].tolist() == [0, 1]
    assert made.cameras['x'].tolist() == [1, 1]
    assert made.paths['x'] == ['v0', 'v1']
    assert set(given.images) == {VISIBLE, INFRARED}  # the input is not modified


def test_a_batch_without_cameras_and_another_name():
    generator = LightGenerator(BOTH, of=INFRARED, name='y')
    images = {m: torch.ones(1, 3, 2, 2) for m in BOTH}
    made = generator(Batch(images, {m: torch.tensor([7]) for m in BOTH}))
    assert generator.modalities == {VISIBLE: 3, INFRARED: 3, 'y': 3}
    assert set(made.identities) == {VISIBLE, INFRARED, 'y'}
    assert made.cameras == {}


def test_it_is_small_and_left_out_of_the_embedding():
    generator = LightGenerator(BOTH)
    assert sum(p.numel() for p in generator.parameters()) == (3 + 1) + (3 + 3)
    assert generator.train_only


def test_what_it_refuses():
    with pytest.raises(UnknownName, match="'thermal'"):
        LightGenerator(BOTH, of='thermal')
    with pytest.raises(Conflict, match="'infrared'"):
        LightGenerator(BOTH, name=INFRARED)
