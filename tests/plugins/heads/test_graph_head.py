"""GraphHead: logits from a graph attention layer, with the loss of DDAG's Eq. 9."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.graph_head import GraphHead
from vireid.plugins.losses.cross_entropy import CrossEntropy

PERSONS = torch.tensor([0, 1, 2, 0, 1])
CONTEXT = Context({'visible': 3, 'infrared': 2}, PERSONS)


def literal_loss(nodes: torch.Tensor, weight: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """The mean negative log-likelihood with plain loops; weight is (K, C) and a is (2 K,)."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(nodes)):
        scores = {}
        for j in range(len(nodes)):
            if PERSONS[j] == PERSONS[i]:
                product = torch.cat([weight @ nodes[i], weight @ nodes[j]]) @ a
                scores[j] = torch.exp(product if product > 0 else 0.2 * product)
        mixed = sum(score / sum(scores.values()) * (weight @ nodes[j]) for j, score in scores.items())
        logits = [x if x > 0 else torch.exp(x) - 1 for x in mixed]  # ELU
        share = torch.exp(logits[PERSONS[i]]) / sum(torch.exp(x) for x in logits)
        total = total - torch.log(share) / len(nodes)
    return total


def test_its_loss_equals_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    head = GraphHead([FeatureSpec(5)], num_identities=3).double().eval()
    nodes = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    loss = CrossEntropy()(head(nodes, context=CONTEXT), PERSONS)
    leaves = [nodes, head.layer.project.weight, head.layer.a]
    expected = literal_loss(nodes, head.layer.project.weight, head.layer.a.reshape(6))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    for found, wanted in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves), strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_hands_on_the_vector_it_reads():
    head = GraphHead([FeatureSpec(4)], num_identities=3)
    nodes = torch.ones(5, 4)
    assert head(nodes, context=CONTEXT).feature is nodes
    assert head.train_only
    assert sum(p.numel() for p in head.parameters()) == 4 * 3 + 2 * 3


def test_needs_identities_and_one_vector():
    with pytest.raises(Mismatch, match=r'GraphHead .*identities'):
        GraphHead([FeatureSpec(4)], 3)(torch.ones(2, 4), context=Context({'visible': 2}))
    with pytest.raises(Mismatch, match=r'GraphHead .*map of 4'):
        GraphHead([FeatureSpec(4, 'map')], 3)
