"""BottleneckHead: two branches, and an embedding of neither."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.bottleneck_head import BottleneckHead


def test_the_branches_written_out():
    torch.manual_seed(0)
    head = BottleneckHead((FeatureSpec(6, 'map'),), 4, channels=3).double().eval()
    x = torch.randn(5, 6, 3, 2).double()
    pooled = torch.stack([x[i].flatten(1).sum(1) / 6 for i in range(5)])
    assert torch.allclose(head.embed(x), pooled)
    reduced = head.norm(pooled @ head.reduce.weight.T + head.reduce.bias)
    reduced = torch.where(reduced > 0, reduced, 0.1 * reduced)
    out = head(x)
    assert torch.allclose(out.logits, reduced @ head.classifier.weight.T + head.classifier.bias)
    assert torch.allclose(out.feature, pooled @ head.project.weight.T + head.project.bias)
    assert head.embedding_dim == 6


def test_parameters_by_hand():
    head = BottleneckHead((FeatureSpec(2048, 'map'),), 395)
    two = 2 * (2048 * 256 + 256)
    assert sum(p.numel() for p in head.parameters()) == two + 2 * 256 + 256 * 395 + 395


def test_dropout_hits_the_classifier_alone():
    head = BottleneckHead((FeatureSpec(6, 'map'),), 4, dropout=0.9)
    x = torch.randn(8, 6, 2, 2)
    torch.manual_seed(0)
    first = head(x)
    second = head(x)
    assert torch.equal(first.feature, second.feature)
    assert not torch.equal(first.logits, second.logits)


def test_a_vector_is_refused():
    with pytest.raises(Mismatch, match='BottleneckHead'):
        BottleneckHead((FeatureSpec(8),), 3)
    assert isinstance(BottleneckHead((FeatureSpec(8, 'map'),), 3).norm, nn.BatchNorm1d)
