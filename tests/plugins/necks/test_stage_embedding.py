"""StageEmbedding: global average pooling, then one fully connected layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugin_manager.manager import create_manager


def build(spec: FeatureSpec, **arguments: Any) -> Any:
    return create_manager().components.build(
        'necks', {'type': 'StageEmbedding', **arguments}, where='neck', inputs=(spec,)
    )


def test_is_the_mean_over_places_through_a_linear_layer():
    neck = build(FeatureSpec(2, 'map'), channels=1)
    with torch.no_grad():
        neck.fc.weight.copy_(torch.tensor([[2.0, 3.0]]))
        neck.fc.bias.fill_(1.0)
    stage = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])  # means 2 and 1
    assert neck(stage, context=Context({})).item() == 2 * 2 + 3 * 1 + 1


def test_a_vector_is_refused():
    with pytest.raises(Mismatch, match=r'StageEmbedding .*vector'):
        build(FeatureSpec(2))


def test_pools_as_it_is_told():
    neck = build(FeatureSpec(1, 'map'), channels=1, pool='Max')
    stage = torch.tensor([[[[1.0, 3.0]]]])
    assert torch.equal(neck(stage, context=Context({})), neck.fc(torch.tensor([[3.0]])))
