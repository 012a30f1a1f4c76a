"""GlobalHead: inputs of metric losses and of the classifier, and the embedding at test time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch, UnknownComponent
from vireid.plugin_manager.manager import create_manager

MAP = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]], [[[0.0, 0.0], [0.0, 4.0]]]])  # means 3, 1; maxima 6, 4


def head(*inputs: FeatureSpec, identities: int = 2, **arguments: Any) -> Any:
    return create_manager().components.build(
        'heads', {'type': 'GlobalHead', **arguments}, where='head', inputs=inputs, num_identities=identities
    )


@pytest.mark.parametrize(('pool', 'wanted'), [('Average', [3.0, 1.0]), ('Max', [6.0, 4.0])])
def test_pools_maps(pool, wanted):
    assert head(FeatureSpec(1, 'map'), pool=pool)(MAP).feature.flatten().tolist() == wanted


def test_a_pooling_may_have_arguments_of_its_own():
    made = head(FeatureSpec(1, 'map'), pool={'type': 'Mixed', 'share': 0.25})
    assert made(MAP).feature.flatten().tolist() == [0.25 * 6 + 0.75 * 3, 0.25 * 4 + 0.75 * 1]


def test_an_unknown_pooling_is_named_with_its_place_and_the_nearest():
    with pytest.raises(UnknownComponent, match=r"head\.pool: .*'max'.*'Max'"):
        head(FeatureSpec(1, 'map'), pool='max')


def test_the_bnneck_stands_between_the_metric_feature_and_the_classifier():
    made = head(FeatureSpec(1, 'map'), identities=3)
    output = made(MAP)  # features 3 and 1 are normalized to about 1 and -1
    assert output.feature.flatten().tolist() == [3.0, 1.0]
    weight = made.branch.classifier.weight.flatten()
    assert torch.allclose(output.logits, torch.stack([weight, -weight]), atol=1e-4)
    assert made.branch.classifier.bias is None
    assert not made.branch.bnneck.bias.requires_grad


def test_embeds_after_or_before_the_bnneck():
    for place, wanted in (('after', [1.5]), ('before', [3.0])):
        made = head(FeatureSpec(1), embedding=place).eval()
        made.branch.bnneck.running_var.fill_(4.0)
        assert made.embed(torch.tensor([[3.0]])).flatten().tolist() == pytest.approx(wanted, rel=1e-4)


def test_reduces_to_channels():
    made = head(FeatureSpec(8), channels=3)
    assert made.embedding_dim == 3
    assert made(torch.randn(4, 8)).feature.shape == (4, 3)


def test_without_bnneck():
    made = head(FeatureSpec(2), bnneck=False)
    feature = torch.randn(3, 2)
    assert torch.equal(made(feature).logits, made.branch.classifier(feature))


def test_a_vector_is_not_pooled():
    with pytest.raises(Mismatch, match="pool is 'Max'"):
        head(FeatureSpec(2), pool='Max')


def test_reads_one_feature():
    with pytest.raises(Mismatch, match=r'GlobalHead .* 2'):
        head(FeatureSpec(2), FeatureSpec(2))
