"""ChannelExchange copies one channel to all three, with the stated probabilities."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from vireid.errors import WrongValue
from vireid.plugins.transforms.channel_exchange import ChannelExchange
from vireid.runtime.randomness import seeded


def kind_of(image: torch.Tensor, found: torch.Tensor) -> str:
    """What was done to the image: the channel that was copied, gray, or nothing."""
    if torch.equal(found, image):
        return 'unchanged'
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    for name, channel in zip(('red', 'green', 'blue'), image, strict=True):
        if torch.equal(found[0], channel):
            return name
    luma = 0.2989 * image[0] + 0.5870 * image[1] + 0.1140 * image[2]
    assert torch.allclose(found[0].double(), luma.double(), atol=0.5 if image.dtype == torch.uint8 else 1e-6)
    return 'gray'


@pytest.mark.parametrize(
    ('arguments', 'shares'),
    [
        ({}, {'red': 1 / 3, 'green': 1 / 3, 'blue': 1 / 3}),
        ({'gray': 0.25}, {'red': 1 / 4, 'green': 1 / 4, 'blue': 1 / 4, 'gray': 1 / 4}),
        (
            {'gray': 0.125, 'unchanged': 0.125},
            {'red': 1 / 4, 'green': 1 / 4, 'blue': 1 / 4, 'gray': 1 / 8, 'unchanged': 1 / 8},
        ),
        ({'unchanged': 1.0}, {'unchanged': 1.0}),
        ({'gray': 1.0}, {'gray': 1.0}),
    ],
)
def test_how_often(arguments, shares):
    transform, image = ChannelExchange(**arguments), torch.randn(3, 2, 2)
    with seeded(0):
        counts = Counter(kind_of(image, transform(image)) for _ in range(2000))
    assert set(counts) == set(shares)
    for kind, share in shares.items():  # 4.5 standard deviations
        assert counts[kind] / 2000 == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32, torch.float64])
def test_keeps_the_dtype_and_the_given_image(dtype):
    image = (255 * torch.rand(3, 8, 4)).to(dtype)
    before = image.clone()
    for seed in range(20):
        with seeded(seed):
            found = ChannelExchange(gray=0.5)(image)
        assert found.dtype == dtype
        assert found.shape == image.shape
        assert kind_of(image, found) != 'unchanged'
        found.zero_()  # transforms that follow may work in place
        assert torch.equal(image, before)


def test_gray_of_integers_is_rounded():
    image = torch.tensor([100, 200, 50], dtype=torch.uint8)[:, None, None]
    # 29.89 + 117.4 + 5.7 = 152.99
    assert ChannelExchange(gray=1.0)(image).flatten().tolist() == [153, 153, 153]


def test_is_a_function_of_the_seed():
    image = torch.randn(3, 4, 4)
    found = []
    for seed in (3, 3, 4, 5, 6, 7):
        with seeded(seed):
            found.append(ChannelExchange(gray=0.25)(image))
    assert torch.equal(found[0], found[1])
    assert any(not torch.equal(found[0], other) for other in found[2:])


@pytest.mark.parametrize('arguments', [{'gray': -0.1}, {'unchanged': 1.1}, {'gray': 0.6, 'unchanged': 0.6}])
def test_impossible_probabilities_are_refused(arguments):
    with pytest.raises(WrongValue, match=str(next(iter(arguments.values())))):
        ChannelExchange(**arguments)
