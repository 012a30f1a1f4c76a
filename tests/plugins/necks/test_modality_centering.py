"""ModalityCentering: a mean per modality, computed from all images."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.modality_centering import ModalityCentering

MODALITIES = {'visible': 3, 'infrared': 3}


def test_each_modality_loses_its_own_mean() -> None:
    neck = ModalityCentering([FeatureSpec(2)], MODALITIES)
    vectors = torch.tensor([[1.0, 2.0], [3.0, 6.0], [10.0, 0.0]])
    context = Context({'visible': 2, 'infrared': 1})
    torch.testing.assert_close(neck(vectors, context=context), vectors)  # not fitted yet
    neck.fit(vectors, context)
    # means: visible (2, 4), infrared (10, 0)
    expected = torch.tensor([[-1.0, -2.0], [1.0, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(neck(vectors, context=context), expected)
    one = neck(torch.tensor([[11.0, 1.0]]), context=Context({'infrared': 1}))
    torch.testing.assert_close(one, torch.tensor([[1.0, 1.0]]))


def test_the_means_are_kept_with_the_weights() -> None:
    neck, other = (ModalityCentering([FeatureSpec(3)], MODALITIES) for _ in range(2))
    vectors = torch.randn(6, 3)
    context = Context({'visible': 3, 'infrared': 3})
    neck.fit(vectors, context)
    other.load_state_dict(neck.state_dict())
    assert torch.equal(other(vectors, context=context), neck(vectors, context=context))


def test_means_of_many_large_values_are_exact() -> None:
    neck = ModalityCentering([FeatureSpec(1)], MODALITIES)
    neck.fit(torch.full((100_000, 1), 1000.1), Context({'visible': 100_000}))
    torch.testing.assert_close(neck.mean_visible, torch.tensor([1000.1]), rtol=1e-7, atol=0)


def test_a_modality_without_images_keeps_its_mean() -> None:
    neck = ModalityCentering([FeatureSpec(1)], MODALITIES)
    neck.fit(torch.tensor([[4.0]]), Context({'infrared': 1}))
    assert (float(neck.mean_visible), float(neck.mean_infrared)) == (0.0, 4.0)


def test_what_it_does_not_take() -> None:
    with pytest.raises(Mismatch, match=r'ModalityCentering .*map'):
        ModalityCentering([FeatureSpec(2, 'map')], MODALITIES)
    neck = ModalityCentering([FeatureSpec(1)], MODALITIES)
    with pytest.raises(Mismatch, match="'x'"):
        neck(torch.zeros(1, 1), context=Context({'x': 1}))
