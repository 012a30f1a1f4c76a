"""GraphAttention against DDAG's equations, node by node, head by head, neighbor by neighbor."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.graph_attention import GraphAttention
from vireid.plugins.necks.graph_layer import GraphLayer
from vireid.plugins.poolings.average import Average


def build_part(kind: str, part: str, key: str) -> Any:
    assert (kind, part, key) == ('poolings', 'Average', 'pool')
    return Average()


def context(identities: list[int]) -> Context:
    half = len(identities) // 2
    return Context({'visible': half, 'infrared': len(identities) - half}, torch.tensor(identities))


def literal(nodes: torch.Tensor, identities: list[int], w: torch.Tensor, a: torch.Tensor, slope: float) -> torch.Tensor:
    """One layer with plain loops; w is (M, D, C) and a is (M, 2 D), the weights of [h_i || h_j]. Returns (B, M * D)."""
    rows = []
    for i in range(len(nodes)):
        heads = []
        for m in range(len(w)):
            scores = {}
            for j in range(len(nodes)):
                if identities[j] == identities[i]:
                    product = torch.cat([w[m] @ nodes[i], w[m] @ nodes[j]]) @ a[m]
                    scores[j] = torch.exp(product if product > 0 else slope * product)
            mixed = sum(score / sum(scores.values()) * (w[m] @ nodes[j]) for j, score in scores.items())
            heads.append(torch.stack([x if x > 0 else torch.exp(x) - 1 for x in mixed]))  # ELU
        rows.append(torch.cat(heads))
    return torch.stack(rows)


@pytest.mark.parametrize('heads', [1, 2, 4])
def test_equals_the_literal_loop_with_gradients(heads):
    torch.manual_seed(heads)
    identities = [0, 0, 1, 2, 0, 1, 1]
    module = GraphAttention([FeatureSpec(5)], build_part, channels=3, num_heads=heads, negative_slope=0.3).double()
    module.eval()  # no dropout
    nodes = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    output = module(nodes, context=context(identities))
    weight, a = module.layer.project.weight, module.layer.a
    expected = literal(nodes, identities, weight.reshape(heads, 3, 5), a.reshape(heads, 6), 0.3)
    assert torch.allclose(output, expected, rtol=0, atol=1e-10)
    direction = torch.randn_like(output)
    found = torch.autograd.grad((output * direction).sum(), [nodes, weight, a])
    wanted = torch.autograd.grad((expected * direction).sum(), [nodes, weight, a])
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_by_hand():
    layer = GraphLayer(1, 1)
    with torch.no_grad():
        layer.project.weight.fill_(2.0)  # h = 2 f
        layer.a.copy_(torch.tensor([[[0.0], [0.5]]]))  # the score is LeakyReLU(f_j)
    found = layer(torch.tensor([[0.0], [math.log(3)], [5.0]]), torch.tensor([4, 4, 9]))
    # weights 1 and 3 of four, so 3/4 of 2 log 3; the third has no other image
    assert found.flatten().tolist() == pytest.approx([1.5 * math.log(3)] * 2 + [10.0])


def test_an_image_alone_of_its_identity_attends_to_itself():
    module = GraphAttention([FeatureSpec(4)], build_part, channels=3).eval()
    nodes = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.elu(module.layer.project(nodes))
    assert torch.allclose(module(nodes, context=context([5, 6, 7])), expected, atol=1e-6)


def test_no_edge_between_identities_and_edges_across_modalities():
    torch.manual_seed(0)
    module = GraphAttention([FeatureSpec(4)], build_part, channels=3).eval()
    nodes = torch.randn(4, 4, requires_grad=True)  # rows 0, 1 are visible and 2, 3 infrared
    gradient = torch.autograd.grad(module(nodes, context=context([0, 1, 0, 1]))[0].sum(), nodes)[0]
    assert gradient[[1, 3]].abs().max() == 0
    assert gradient[2].abs().max() > 0


def test_one_modality_alone_and_equal_nodes():
    module = GraphAttention([FeatureSpec(4)], build_part, channels=3).eval()
    alone = Context({'infrared': 4}, torch.tensor([0, 0, 1, 1]))
    output = module(torch.ones(4, 4), context=alone)
    assert torch.isfinite(output).all()
    assert torch.allclose(output, output[:1].expand(4, -1), atol=1e-6)


def test_large_scores_do_not_overflow():
    torch.manual_seed(0)
    module = GraphAttention([FeatureSpec(4)], build_part).eval()
    assert torch.isfinite(module(1e4 * torch.randn(6, 4), context=context([0, 0, 0, 1, 1, 1]))).all()


def test_a_map_is_pooled():
    torch.manual_seed(0)
    module = GraphAttention([FeatureSpec(4, 'map', size=(2, 3))], build_part, channels=3).eval()
    images = torch.randn(4, 4, 2, 3)
    vectors = GraphAttention([FeatureSpec(4)], build_part, channels=3).eval()
    vectors.load_state_dict(module.state_dict())
    same = context([0, 0, 1, 1])
    assert torch.allclose(module(images, context=same), vectors(images.mean(dim=(2, 3)), context=same), atol=1e-6)


def test_dropout_works_in_training_only():
    torch.manual_seed(0)
    module = GraphAttention([FeatureSpec(8)], build_part, dropout=0.5)
    nodes, same = torch.randn(4, 8), context([0, 0, 1, 1])
    assert not torch.equal(module(nodes, context=same), module(nodes, context=same))
    module.eval()
    assert torch.equal(module(nodes, context=same), module(nodes, context=same))


def test_makes_heads_times_channels_and_counts_its_parameters():
    module = GraphAttention([FeatureSpec(10)], build_part, channels=3, num_heads=2)
    assert module.output == FeatureSpec(6)
    assert sum(p.numel() for p in module.parameters()) == 2 * (10 * 3 + 2 * 3)


def test_each_head_starts_as_if_it_were_alone():
    torch.manual_seed(0)
    layer = GraphLayer(64, 32, num_heads=8)
    bound = math.sqrt(2) * math.sqrt(6 / (64 + 32))
    for weight in layer.project.weight.split(32):
        assert 0.9 * bound < weight.abs().max() <= bound


def test_what_it_refuses():
    with pytest.raises(Mismatch, match=r'GraphAttention .*identities'):
        GraphAttention([FeatureSpec(4)], build_part)(torch.randn(2, 4), context=Context({'visible': 2}))
    with pytest.raises(Mismatch, match=r'GraphAttention .* 2'):
        GraphAttention([FeatureSpec(4), FeatureSpec(4)], build_part)
    with pytest.raises(Mismatch, match="pool is 'Max'"):
        GraphAttention([FeatureSpec(4)], build_part, pool='Max')
