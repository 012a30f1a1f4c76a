"""Concat, Sum, GatedFusion, CrossModalAttention: against numbers computed by hand or literal loops."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE, Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.concat import Concat
from vireid.plugins.necks.cross_modal_attention import CrossModalAttention
from vireid.plugins.necks.gated_fusion import GatedFusion
from vireid.plugins.necks.sum import Sum

NONE = Context({VISIBLE: 2})


def test_concat_puts_channels_side_by_side():
    neck = Concat([FeatureSpec(2), FeatureSpec(3)])
    assert neck.output == FeatureSpec(5)
    a, b = torch.randn(4, 2), torch.randn(4, 3)
    assert torch.equal(neck(a, b, context=NONE), torch.cat([a, b], dim=1))
    maps = Concat([FeatureSpec(2, 'map', size=(4, 2)), FeatureSpec(3, 'map', size=(4, 2))])
    assert maps.output == FeatureSpec(5, 'map', size=(4, 2))


def test_sum_adds_and_may_normalize():
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0]])
    assert Sum([FeatureSpec(2)] * 2)(a, b, context=NONE).tolist() == [[3.0, 4.0]]
    assert Sum([FeatureSpec(2)] * 2, normalize=True)(a, b, context=NONE).tolist() == [pytest.approx([0.6, 0.8])]


def test_gated_fusion_begins_as_the_mean():
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    neck = GatedFusion([FeatureSpec(4)] * 2)
    assert torch.allclose(neck(a, b, context=NONE), (a + b) / 2)


def test_gated_fusion_equals_a_literal_loop():
    torch.manual_seed(0)
    neck = GatedFusion([FeatureSpec(4)] * 3).double()
    torch.nn.init.normal_(neck.gate.weight)
    torch.nn.init.normal_(neck.gate.bias)
    features = [torch.randn(5, 4, dtype=torch.float64) for _ in range(3)]
    found = neck(*features, context=NONE)
    for image in range(5):
        s = torch.cat([f[image] for f in features])
        scores = neck.gate.weight @ s + neck.gate.bias  # input by input, its 4 channels
        for channel in range(4):
            powers = [torch.exp(scores[level * 4 + channel]) for level in range(3)]
            wanted = sum(p / sum(powers) * f[image, channel] for p, f in zip(powers, features, strict=True))
            assert found[image, channel].item() == pytest.approx(wanted.item(), abs=1e-10)


def attention(channels: int = 4, **arguments) -> CrossModalAttention:
    torch.manual_seed(0)
    neck = CrossModalAttention([FeatureSpec(channels)], **arguments).double()
    torch.nn.init.normal_(neck.out.weight)
    torch.nn.init.normal_(neck.out.bias)
    return neck


@pytest.mark.parametrize('same_identity', [True, False])
def test_cross_modal_attention_equals_a_literal_loop(same_identity):
    neck = attention(num_heads=2, same_identity=same_identity)
    nodes = torch.randn(5, 4, dtype=torch.float64)
    modality, identities = [0, 0, 0, 1, 1], [7, 7, 8, 7, 9]
    found = neck(nodes, context=Context({VISIBLE: 3, INFRARED: 2}, torch.tensor(identities)))
    q, k, v = neck.query(nodes), neck.key(nodes), neck.value(nodes)
    for i in range(5):
        others = [
            j for j in range(5) if modality[j] != modality[i] and (not same_identity or identities[j] == identities[i])
        ]
        if not others:
            assert torch.equal(found[i], nodes[i])
            continue
        heads = []
        for channels in (slice(0, 2), slice(2, 4)):
            powers = [torch.exp(q[i, channels] @ k[j, channels] / 2**0.5) for j in others]
            heads.append(sum(p / sum(powers) * v[j, channels] for p, j in zip(powers, others, strict=True)))
        assert torch.allclose(found[i], nodes[i] + neck.out(torch.cat(heads)), atol=1e-10)


def test_cross_modal_attention_begins_as_the_identity_and_lets_gradients_through():
    neck = CrossModalAttention([FeatureSpec(8)])
    nodes = torch.randn(4, 8, requires_grad=True)
    found = neck(nodes, context=Context({VISIBLE: 2, INFRARED: 2}, torch.tensor([0, 1, 0, 1])))
    assert torch.equal(found, nodes)
    found.square().sum().backward()
    assert neck.out.weight.grad.abs().sum() > 0


def test_cross_modal_attention_leaves_a_batch_of_one_modality_as_it_is():
    neck = attention(same_identity=False)
    nodes = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(neck(nodes, context=Context({INFRARED: 3})), nodes)


@pytest.mark.parametrize(
    ('build', 'fact'),
    [
        (lambda: Concat([FeatureSpec(2)]), 'Concat .* 1'),
        (lambda: Concat([FeatureSpec(2), FeatureSpec(2, 'map')]), 'vector of 2, map of 2'),
        (
            lambda: Concat([FeatureSpec(2, 'map', size=(4, 2)), FeatureSpec(2, 'map', size=(2, 1))]),
            r'map of 2 \(4x2\), map of 2 \(2x1\)',
        ),
        (lambda: Sum([FeatureSpec(2), FeatureSpec(3)]), 'vector of 2, vector of 3'),
        (lambda: CrossModalAttention([FeatureSpec(4), FeatureSpec(4)]), 'CrossModalAttention .* 2'),
        (lambda: GatedFusion([FeatureSpec(2, 'map'), FeatureSpec(2, 'map')]), 'GatedFusion .*map of 2, map of 2'),
        (lambda: CrossModalAttention([FeatureSpec(6)]), 'vector of 6'),
        (lambda: CrossModalAttention([FeatureSpec(4, 'map')]), 'map of 4'),
    ],
)
def test_shapes_that_cannot_be_fused_are_refused(build, fact):
    with pytest.raises(Mismatch, match=fact):
        build()


@pytest.mark.parametrize('neck', [Concat, Sum])
def test_a_size_that_is_not_known_fits_any(neck):
    known, unknown = FeatureSpec(2, 'map', size=(4, 2)), FeatureSpec(2, 'map')
    assert neck([unknown, known]).output.size == (4, 2)
    assert neck([unknown, unknown]).output.size is None


def test_attention_that_reads_no_labels_works_at_test_time_too():
    assert not CrossModalAttention([FeatureSpec(4)], same_identity=False).train_only
    assert CrossModalAttention([FeatureSpec(4)]).train_only
