"""JointCritic: which pairs of image and feature map it judges, and where gradients flow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import INFRARED, VISIBLE, Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.joint_critic import JointCritic, another_identity

IMAGE = FeatureSpec(3, 'map', 'paired', (64, 64))
SPECS = (IMAGE, IMAGE, FeatureSpec(5, 'map'))
IDENTITIES = [0, 0, 1, 1, 2, 2]


def critic() -> JointCritic:
    torch.manual_seed(0)
    return JointCritic(SPECS, channels=2).double()


def given(identities: list[int] = IDENTITIES) -> tuple[dict, dict, torch.Tensor, Context]:
    torch.manual_seed(1)
    count = len(identities)
    real, fake = ({m: torch.randn(count, 3, 64, 64).double() for m in (VISIBLE, INFRARED)} for _ in range(2))
    features = torch.randn(2 * count, 5, 4, 2).double()
    return real, fake, features, Context({VISIBLE: count, INFRARED: count}, torch.tensor(identities * 2))


def judged(network: JointCritic, image: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
    """One pair, written out."""
    x, f = network.image(image[None]), network.feature(feature[None])
    f = nn.functional.interpolate(f, (8, 8), mode='bilinear', align_corners=False)
    return network.pair(torch.cat([x, f], dim=1)).flatten()


def test_the_pairs_are_those_of_the_literal_loop():
    network, (real, fake, features, context) = critic(), given()
    out = network(real, fake, features, context)
    f_fake, f_real = features[:6], features[6:]
    x, x_fake = real[INFRARED], fake[VISIBLE]
    wrong = [2, 3, 4, 5, 0, 1]  # a shift by two, the images per identity
    for i in range(6):
        rows = {
            'real': [judged(network, x[i], f_real[i])],
            'fake': [
                judged(network, x[wrong[i]], f_real[i]),
                judged(network, x[i], f_fake[i]),
                judged(network, x_fake[i], f_real[i]),
                judged(network, x_fake[i], f_fake[i]),
            ],
            'image': [judged(network, x_fake[i], f_real[i])],
            'feature': [judged(network, x[i], f_fake[i])],
        }
        for name, wanted in rows.items():
            for number, value in enumerate(wanted):
                assert torch.allclose(out[name].feature[i + 6 * number], value, rtol=0, atol=1e-10), (name, number)


def test_the_generator_is_not_taught_through_the_real_feature_and_the_backbone_is_through_the_fake_one():
    network, (real, fake, features, context) = critic(), given()
    features.requires_grad_()
    fake[VISIBLE].requires_grad_()
    out = network(real, fake, features, context)
    image, feature = torch.autograd.grad(
        out['image'].feature.sum(), [fake[VISIBLE], features], allow_unused=True, retain_graph=True
    )
    assert image.any()
    assert feature is None
    image, feature = torch.autograd.grad(out['feature'].feature.sum(), [fake[VISIBLE], features], allow_unused=True)
    assert image is None
    assert feature[:6].any()
    assert not feature[6:].any()


@pytest.mark.parametrize('identities', [[0, 0, 1, 1], [0, 1, 0, 2, 1], [3, 3, 3, 1], [4, 2]])
def test_another_identity_is_another_one(identities):
    found = another_identity(torch.tensor(identities))
    assert all(identities[other] != identities[i] for i, other in enumerate(found.tolist()))


def test_with_one_identity_there_is_no_pair_of_two():
    assert another_identity(torch.tensor([1, 1])) is None
    out = critic()(*given([0, 0]))
    assert len(out['fake'].feature) == 3 * 2


def test_parameters_by_hand():
    """Of the released network: 64 channels, a map of 2048."""
    with torch.device('meta'):
        network = JointCritic((FeatureSpec(3, 'map', 'paired', (128, 128)),) * 2 + (FeatureSpec(2048, 'map'),))
    image = (3 * 64 * 16 + 64) + (64 * 128 * 16 + 128) + (128 * 256 * 16 + 256)
    pair = (320 * 512 * 16 + 512) + (512 * 1024 * 16 + 1024) + 1024 * 9
    assert sum(p.numel() for p in network.parameters()) == image + (2048 * 64 + 64) + pair == 11_810_816


def test_what_it_refuses():
    with pytest.raises(Mismatch, match=r'JointCritic .*paired\b.*joint\b'):
        JointCritic((IMAGE, FeatureSpec(5, 'map')))
    small = FeatureSpec(3, 'map', 'paired', (64, 32))
    with pytest.raises(Mismatch, match=r'JointCritic .* 5 times, .* 64 x 32'):
        JointCritic((small, small, FeatureSpec(5, 'map')))
    real, fake, features, context = given()
    shifted = Context(context.counts, torch.tensor([*IDENTITIES, 2, 2, 0, 0, 1, 1]))
    with pytest.raises(Mismatch, match=r'sampler\.visible.*sampler\.infrared'):
        critic()(real, fake, features, shifted)
    with pytest.raises(Mismatch, match=r'JointCritic .*infrared .*visible'):
        critic()({VISIBLE: real[VISIBLE]}, fake, features, context)
