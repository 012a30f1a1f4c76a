"""StageEmbedding: global average pooling, then one fully connected layer."""

from __future__ import annotations

import pytest
import torch

from vireid.core.errors import VireidError
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.stage_embedding import StageEmbedding


def test_is_the_mean_over_places_through_a_linear_layer():
    neck = StageEmbedding([FeatureSpec(2, 'map')], channels=1)
    with torch.no_grad():
        neck.fc.weight.copy_(torch.tensor([[2.0, 3.0]]))
        neck.fc.bias.fill_(1.0)
    stage = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])  # means 2 and 1
    assert neck(stage, context=Context({})).item() == 2 * 2 + 3 * 1 + 1


def test_a_vector_is_refused():
    with pytest.raises(VireidError, match='reads a map'):
        StageEmbedding([FeatureSpec(2)])
