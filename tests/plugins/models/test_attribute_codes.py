"""AttributeCodes against lists of positions, one code at a time."""

from __future__ import annotations

import pytest
import torch

from vireid.errors import Mismatch
from vireid.plugins.models.attribute_codes import AttributeCodes

# of a code of length 32: four slices of 8, each 4 style, 2 pose and 2 illumination
STYLE = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]
POSE = [4, 5, 12, 13, 20, 21, 28, 29]
ILLUMINATION = [6, 7, 14, 15, 22, 23, 30, 31]


def codes(seed: int) -> AttributeCodes:
    return AttributeCodes(torch.randn(3, 32, generator=torch.Generator().manual_seed(seed), requires_grad=False))


def test_parts_are_where_they_belong():
    own = codes(0)
    assert torch.equal(own.style, own.codes[:, STYLE])
    assert torch.equal(own.excluded, own.codes[:, sorted(POSE + ILLUMINATION)])


def test_swaps_take_the_parts_they_name_and_leave_the_originals():
    own, other = codes(0), codes(1)
    before = own.codes.clone()
    for swapped, taken in ((own.with_style_of(other), STYLE), (own.with_style_and_pose_of(other), STYLE + POSE)):
        for row in range(3):
            for place in range(32):
                source = other if place in taken else own
                assert swapped.codes[row, place] == source.codes[row, place]
    assert torch.equal(own.codes, before)


def test_gradients_reach_both_sides():
    own, other = (torch.randn(2, 16, requires_grad=True) for _ in range(2))
    AttributeCodes(own).with_style_of(AttributeCodes(other)).codes.sum().backward()
    # slices of 4: two style, one pose, one illumination
    assert own.grad[0].tolist() == [0, 0, 1, 1] * 4
    assert other.grad[0].tolist() == [1, 1, 0, 0] * 4


def test_refuses_a_length_without_whole_parts():
    with pytest.raises(Mismatch, match='24'):
        AttributeCodes(torch.zeros(1, 24))
