"""IWPAHead against its definition, part by part; its shared classifier and its embedding."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.iwpa_head import IWPAHead

MAP = FeatureSpec(4, 'map', size=(7, 2))


def refined(head: IWPAHead, images: torch.Tensor, edges: list[tuple[int, int]]) -> torch.Tensor:
    """x* with plain loops, for a head in eval mode."""
    rows = []
    for image in images:  # (C, H, W)
        x = torch.stack([channel.sum() / channel.numel() for channel in image])
        norm = head.bnneck
        normalized = (x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight
        parts = [image[:, a:b].flatten(1).sum(dim=1) / ((b - a) * image.shape[2]) for a, b in edges]
        gates = [torch.exp(g) for g in head.gate]
        total = normalized
        for i, part in enumerate(parts):
            u = head.u.weight @ part + head.u.bias
            scores = [torch.exp(u @ (head.v.weight @ other + head.v.bias)) for other in parts]
            mixed = torch.zeros_like(x)
            for score, other in zip(scores, parts, strict=True):
                mixed = mixed + score / sum(scores) * (head.z.weight @ other + head.z.bias)
            total = total + gates[i] / sum(gates) * mixed
        rows.append(total)
    return torch.stack(rows)


@pytest.mark.parametrize(('parts', 'edges'), [(1, [(0, 7)]), (3, [(0, 2), (2, 4), (4, 7)])])
def test_refined_equals_the_literal_loop_with_gradients(parts, edges):
    torch.manual_seed(parts)
    head = IWPAHead([MAP], num_identities=3, parts=parts).double().eval()
    with torch.no_grad():
        head.gate.copy_(torch.randn(parts))
        head.bnneck.running_mean.copy_(torch.randn(4))
        head.bnneck.running_var.copy_(torch.rand(4) + 0.5)
    images = torch.randn(3, 4, 7, 2, dtype=torch.float64, requires_grad=True)
    found, wanted = head(images)['refined'].feature, refined(head, images, edges)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    leaves = [images, head.u.weight, head.u.bias, head.v.weight, head.z.weight, head.z.bias, head.gate]
    direction = torch.randn_like(found)
    gradients = torch.autograd.grad((found * direction).sum(), leaves)
    literal = torch.autograd.grad((wanted * direction).sum(), leaves)
    for one, other in zip(gradients, literal, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_by_hand():
    head = IWPAHead([FeatureSpec(1, 'map', size=(2, 1))], num_identities=1, parts=2).eval()
    with torch.no_grad():
        for layer, weight in ((head.u, 1.0), (head.v, 1.0), (head.z, 2.0)):
            layer.weight.fill_(weight)
            layer.bias.zero_()
        head.gate.copy_(torch.tensor([0.0, math.log(3)]))  # a quarter and three quarters
    one = math.log(3)
    images = torch.tensor([0.0, math.sqrt(one)]).view(1, 1, 2, 1)
    # part 1 is 0 and weighs both equally; part 2 weighs itself three times as much
    root = math.sqrt(one)
    context = 0.25 * 2 * root / 2 + 0.75 * 2 * root * 3 / 4
    normalized = root / 2 / math.sqrt(1 + 1e-5)
    assert head(images)['refined'].feature.item() == pytest.approx(normalized + context, abs=1e-6)


def test_both_outputs_share_the_classifier_behind_batchnorms_of_their_own():
    torch.manual_seed(0)
    head = IWPAHead([MAP], num_identities=3).double()
    images = torch.randn(6, 4, 7, 2, dtype=torch.float64)
    outputs = head(images)
    assert list(outputs) == list(head.outputs) == ['global', 'refined']
    assert torch.allclose(outputs['global'].feature, images.mean(dim=(2, 3)))
    for output in outputs.values():
        x = output.feature
        normalized = (x - x.mean(dim=0)) / (x.var(dim=0, unbiased=False) + 1e-5).sqrt()
        assert torch.allclose(output.logits, normalized @ head.classifier.weight.T, atol=1e-10)
    assert head.bnneck.num_batches_tracked == head.refined_bnneck.num_batches_tracked == 1


@pytest.mark.parametrize('embedding', ['global', 'refined'])
def test_embeds_an_output_behind_its_batchnorm(embedding):
    torch.manual_seed(0)
    head = IWPAHead([MAP], num_identities=3, embedding=embedding).eval()
    images = torch.randn(2, 4, 7, 2)
    output = head(images)[embedding]
    assert torch.allclose(head.embed(images) @ head.classifier.weight.T, output.logits, atol=1e-6)
    assert head.embed(images).shape == (2, head.embedding_dim)


def test_an_image_is_refined_by_itself_alone():
    torch.manual_seed(0)
    head = IWPAHead([MAP], num_identities=3).eval()
    images = torch.randn(4, 4, 7, 2)
    assert torch.allclose(head.embed(images)[2:3], head.embed(images[2:3]), atol=1e-6)


def test_equal_parts_are_attended_to_evenly():
    head = IWPAHead([MAP], num_identities=3).eval()
    image = torch.ones(1, 4, 7, 2, requires_grad=True)
    output = head(image)['refined'].feature
    expected = head.bnneck(torch.ones(1, 4)) + head.z(torch.ones(1, 4))
    assert torch.allclose(output, expected, atol=1e-6)
    assert torch.isfinite(torch.autograd.grad(output.sum(), image)[0]).all()


def test_large_half_precision_scores_stay_finite():
    torch.manual_seed(0)
    head = IWPAHead([FeatureSpec(64, 'map', size=(6, 3))], num_identities=3)
    images = 300 * torch.randn(4, 64, 6, 3)
    with torch.autocast('cpu', torch.bfloat16):
        outputs = head(images)
    assert all(torch.isfinite(output.logits).all() for output in outputs.values())


def test_parameters_by_hand():
    head = IWPAHead([MAP], num_identities=5, parts=3)
    maps, gate, norms, classifier = 3 * (4 * 4 + 4), 3, 2 * (4 + 4), 4 * 5
    assert sum(p.numel() for p in head.parameters()) == maps + gate + norms + classifier
    assert sum(p.numel() for p in head.parameters() if not p.requires_grad) == 2 * 4  # the BatchNorms' biases


def test_what_it_refuses():
    with pytest.raises(Mismatch, match=r'IWPAHead .*vector of 4'):
        IWPAHead([FeatureSpec(4)], 3)
    with pytest.raises(Mismatch, match=r'parts is 8, .* 7 rows'):
        IWPAHead([MAP], 3, parts=8)
