"""PatchCritic: which images it judges, at several scales, with the parameters of the released network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import INFRARED, VISIBLE, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.patch_critic import PatchCritic
from vireid.plugins.losses.least_squares import LeastSquares

SPEC = FeatureSpec(3, 'map', 'paired', (16, 16))


def maps() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {m: torch.randn(2, 3, 16, 16) for m in (VISIBLE, INFRARED)}


@pytest.mark.parametrize(('modality', 'other'), [(VISIBLE, INFRARED), (INFRARED, VISIBLE)])
def test_it_judges_the_images_of_a_modality_and_those_translated_to_it(modality, other):
    torch.manual_seed(0)
    critic = PatchCritic((SPEC, SPEC), modality, channels=2, doublings=1)
    real, fake = maps(), maps()
    out = critic(real, fake)
    assert torch.equal(out['real'].feature, critic.judge(real[modality]))
    assert torch.equal(out['fake'].feature, critic.judge(fake[other]))
    assert out['real'].feature.shape == (2, 4 * 4)  # a value for each patch


def test_the_loss_of_several_scales_is_the_sum_of_their_means():
    torch.manual_seed(0)
    critic = PatchCritic((FeatureSpec(3, 'map', 'paired', (32, 16)),) * 2, VISIBLE, 2, 1, False, 1, scales=3)
    images = {VISIBLE: torch.randn(2, 3, 32, 16), INFRARED: torch.randn(2, 3, 32, 16)}
    loss = LeastSquares(1.0)(critic(images, images)['real'], torch.zeros(2))
    x, total = images[VISIBLE], 0.0
    for network in critic.networks:
        total = total + (network(x) - 1).square().mean()
        x = nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert loss.item() == pytest.approx(total.item(), abs=1e-5)
    assert critic.outputs == {'real': 3, 'fake': 3}


def test_parameters_by_hand():
    """Of the released discriminator: five convolutions with a bias, whose norms have no parameters, and one without."""
    with torch.device('meta'):
        critic = PatchCritic((FeatureSpec(3, 'map', 'paired', (128, 128)),) * 2, VISIBLE)
    widths = [64, 128, 256, 512, 1024]
    convolutions = [(a * b * 16 + b) for a, b in zip([3, *widths], widths, strict=False)]
    assert sum(p.numel() for p in critic.parameters()) == sum(convolutions) + 1024 * 9 == 11_155_392


def test_what_it_refuses():
    with pytest.raises(Mismatch, match=r'PatchCritic .* 5 times, .* 16 x 16'):
        PatchCritic((SPEC, SPEC), VISIBLE)
    with pytest.raises(Mismatch, match=r'PatchCritic .*1 maps'):
        PatchCritic((SPEC,), VISIBLE)
    critic = PatchCritic((SPEC, SPEC), VISIBLE, 2, 1)
    with pytest.raises(Mismatch, match=r'PatchCritic .*infrared .*visible'):
        critic({VISIBLE: maps()[VISIBLE]}, {VISIBLE: maps()[VISIBLE]})
