"""GlobalHead: what metric losses see, what the classifier sees, what is used at test time."""

from __future__ import annotations

import pytest
import torch

from vireid.core.errors import VireidError
from vireid.core.types import FeatureSpec
from vireid.plugins.heads.global_head import GlobalHead

MAP = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]], [[[0.0, 0.0], [0.0, 4.0]]]])  # means 3, 1; maxima 6, 4


@pytest.mark.parametrize(('pool', 'wanted'), [('avg', [3.0, 1.0]), ('max', [6.0, 4.0])])
def test_pools_maps(pool, wanted):
    head = GlobalHead([FeatureSpec(1, 'map')], num_identities=2, pool=pool)
    assert head(MAP).feature.flatten().tolist() == wanted


def test_the_bnneck_stands_between_the_metric_feature_and_the_classifier():
    head = GlobalHead([FeatureSpec(1, 'map')], num_identities=3)
    output = head(MAP)  # features 3 and 1 are normalised to about 1 and -1
    assert output.feature.flatten().tolist() == [3.0, 1.0]
    weight = head.classifier.weight.flatten()
    assert torch.allclose(output.logits, torch.stack([weight, -weight]), atol=1e-4)
    assert head.classifier.bias is None
    assert not head.bnneck.bias.requires_grad


def test_embeds_after_or_before_the_bnneck():
    for place, wanted in (('after', [1.5]), ('before', [3.0])):
        head = GlobalHead([FeatureSpec(1)], num_identities=2, embedding=place).eval()
        head.bnneck.running_var.fill_(4.0)
        assert head.embed(torch.tensor([[3.0]])).flatten().tolist() == pytest.approx(wanted, rel=1e-4)


def test_reduces_to_channels():
    head = GlobalHead([FeatureSpec(8)], num_identities=2, channels=3)
    assert head.embedding_dim == 3
    assert head(torch.randn(4, 8)).feature.shape == (4, 3)


def test_without_bnneck():
    head = GlobalHead([FeatureSpec(2)], num_identities=2, bnneck=False)
    feature = torch.randn(3, 2)
    assert torch.equal(head(feature).logits, head.classifier(feature))


def test_reads_one_feature():
    with pytest.raises(VireidError, match='was given 2'):
        GlobalHead([FeatureSpec(2), FeatureSpec(2)], num_identities=2)
