"""CameraHead outputs camera scores as its feature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.camera_head import CameraHead
from vireid.plugins.poolings.average import Average


def build_part(kind: str, config: object, key: str) -> nn.Module:
    assert (kind, config, key) == ('poolings', 'Average', 'pool')
    return Average()


def test_scores_are_a_linear_map_of_the_vector():
    head = CameraHead([FeatureSpec(5)], build_part, cameras=9)
    assert sum(p.numel() for p in head.parameters()) == 5 * 9 + 9
    vector = torch.randn(3, 5)
    output = head(vector)
    assert torch.allclose(output.feature, vector @ head.classifier.weight.T + head.classifier.bias, atol=1e-6)
    assert output.logits is None
    assert head.embed(vector) is vector
    assert head.embedding_dim == 5


def test_a_map_is_pooled_first():
    head = CameraHead([FeatureSpec(2, 'map', size=(1, 2))], build_part, cameras=6)
    assert head.embed(torch.tensor([[[[1.0, 3.0]], [[2.0, 6.0]]]])).tolist() == [[2.0, 4.0]]
    assert head(torch.randn(4, 2, 1, 2)).feature.shape == (4, 6)


def test_wrong_arguments():
    with pytest.raises(Mismatch, match=r'CameraHead .* 2'):
        CameraHead([FeatureSpec(5)] * 2, build_part)
    with pytest.raises(Mismatch, match="pool is 'Max'"):
        CameraHead([FeatureSpec(5)], build_part, pool='Max')
