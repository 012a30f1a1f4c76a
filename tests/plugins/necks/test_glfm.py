"""GLFM against Eq. 4 and 5, node by node, head by head, neighbor by neighbor."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.glfm import GLFM


def context(identities: list[int]) -> Context:
    half = len(identities) // 2
    return Context({'visible': half, 'infrared': len(identities) - half}, torch.tensor(identities))


def literal(nodes: torch.Tensor, identities: list[int], h: torch.Tensor, w: torch.Tensor, slope: float) -> torch.Tensor:
    """Eq. 4-5 with plain loops; h is (M, C/2, C) and w is (M, C), the paper's [a || b]."""
    heads, half, _ = h.shape
    fused = []
    for i in range(len(nodes)):
        total = torch.zeros_like(nodes[0])
        for m in range(heads):
            scores = {}
            for j in range(len(nodes)):
                if identities[i] != identities[j]:
                    continue
                joined = torch.cat([h[m] @ nodes[i], h[m] @ nodes[j]])  # [h(f_i) || h(f_j)]
                product = sum(joined[k] * w[m, k] for k in range(2 * half))
                scores[j] = torch.exp(product if product > 0 else slope * product)
            for j, score in scores.items():
                total = total + score / sum(scores.values()) * nodes[j]
        fused.append(total / heads)
    return torch.stack(fused)


@pytest.mark.parametrize('heads', [1, 2, 4])
def test_equals_the_literal_loop_with_gradients(heads):
    torch.manual_seed(heads)
    identities = [0, 0, 1, 2, 0, 1, 1]
    module = GLFM([FeatureSpec(6)], num_heads=heads, negative_slope=0.3).double()
    nodes = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    output = module(nodes, context=context(identities))
    h = module.h.weight.reshape(heads, 3, 6)
    expected = literal(nodes, identities, h, module.w.reshape(heads, 6), 0.3)
    assert torch.allclose(output, expected, rtol=0, atol=1e-10)
    direction = torch.randn(7, 6, dtype=torch.float64)
    leaves = [nodes, module.h.weight, module.w]
    gradients = torch.autograd.grad((output * direction).sum(), leaves)
    literal_gradients = torch.autograd.grad((expected * direction).sum(), leaves)
    for found, wanted in zip(gradients, literal_gradients, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_an_identity_alone_keeps_its_feature():
    module = GLFM([FeatureSpec(4)], num_heads=2)
    nodes = torch.randn(3, 4)
    assert torch.allclose(module(nodes, context=context([5, 6, 7])), nodes, atol=1e-6)


def test_no_edge_between_identities():
    module = GLFM([FeatureSpec(4)])
    nodes = torch.randn(4, 4, requires_grad=True)
    output = module(nodes, context=context([0, 0, 1, 1]))
    gradient = torch.autograd.grad(output[:2].sum(), nodes)[0]
    assert gradient[2:].abs().max() == 0
    assert gradient[:2].abs().min() > 0


def test_equal_nodes_of_both_modalities_are_averaged_evenly():
    module = GLFM([FeatureSpec(2)], num_heads=1)
    torch.nn.init.zeros_(module.w)  # every score is exp(0) = 1
    output = module(torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]]), context=context([3, 3, 8]))
    assert output.tolist() == [[0.5, 0.5], [0.5, 0.5], [4.0, 4.0]]


def test_large_scores_do_not_overflow():
    module = GLFM([FeatureSpec(4)])
    assert torch.isfinite(module(1e4 * torch.randn(6, 4), context=context([0, 0, 0, 1, 1, 1]))).all()


def test_needs_identities_and_an_even_vector():
    with pytest.raises(Mismatch, match=r'GLFM .*identities'):
        GLFM([FeatureSpec(4)])(torch.randn(2, 4), context=Context({'visible': 2}))
    with pytest.raises(Mismatch, match=r'GLFM .*vector of 5'):
        GLFM([FeatureSpec(5)])
