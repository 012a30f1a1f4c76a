"""VectorHead, HiddenLayerHead and ModalityDiscriminator: their layers, by hand, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.heads.modality_discriminator import ModalityDiscriminator
from vireid.plugins.heads.vector_head import VectorHead


def build(kind: str, inputs: list[FeatureSpec], **settings) -> nn.Module:
    given = {'inputs': inputs, 'num_identities': 395}
    return create_manager().components.build('heads', {'type': kind, **settings}, where='head', **given)


def test_hidden_layers_serve_the_classifier_alone():
    torch.manual_seed(0)
    head = build('HiddenLayerHead', [FeatureSpec(6, 'map')], hidden=[5, 4])
    feature = torch.randn(3, 6, 2, 2)
    output, pooled = head(feature), feature.mean(dim=(2, 3))
    first, _, second, _, last = head.classifier
    wanted = last(torch.relu(second(torch.relu(first(pooled)))))
    assert torch.allclose(output.logits, wanted)
    assert torch.allclose(output.feature, pooled)
    assert torch.equal(head.embed(feature), output.feature)
    assert head.embedding_dim == 6


def test_parameters_of_cmgan():
    head, discriminator = (build(kind, [FeatureSpec(2048)]) for kind in ('HiddenLayerHead', 'ModalityDiscriminator'))
    assert sum(p.numel() for p in head.parameters()) == 2048 * 512 + 512 + 512 * 395 + 395
    layers = 2048 * 1000 + 1000, 1000 * 500 + 500, 500 * 2 + 2
    assert sum(p.numel() for p in discriminator.parameters()) == sum(layers) == 2_550_502


def test_a_discriminator_scores_both_modalities_and_embeds_nothing():
    head = build('ModalityDiscriminator', [FeatureSpec(6, 'map')], hidden=[5])
    feature = torch.randn(3, 6, 2, 2)
    first, _, last = head.classifier
    assert torch.allclose(head(feature).feature, last(torch.relu(first(feature.mean(dim=(2, 3))))))
    assert ModalityDiscriminator.train_only
    assert not hasattr(head, 'embed')


def test_a_vector_passes_as_it_is():
    head, vector = VectorHead([FeatureSpec(4)]), torch.randn(3, 4)
    assert head(vector).feature is vector
    assert head.embed(vector) is vector
    assert head.embedding_dim == 4
    assert not list(head.parameters())


@pytest.mark.parametrize('kind', ['HiddenLayerHead', 'ModalityDiscriminator'])
@pytest.mark.parametrize(
    ('inputs', 'settings', 'error', 'fact'),
    [
        ([FeatureSpec(4)] * 2, {}, Mismatch, 'got 2'),
        ([FeatureSpec(4)], {'pool': 'GeM'}, Mismatch, "pool is 'GeM'"),
        ([FeatureSpec(4)], {'hidden': []}, WrongValue, r'hidden is \(\)'),
        ([FeatureSpec(4)], {'hidden': [8, 0]}, WrongValue, r'hidden is \(8, 0\)'),
    ],
)
def test_what_does_not_fit_is_refused(kind, inputs, settings, error, fact):
    with pytest.raises(error, match=fact):
        build(kind, inputs, **settings)


@pytest.mark.parametrize('inputs', [[FeatureSpec(4, 'map')], [FeatureSpec(4)] * 2])
def test_a_vector_head_reads_one_vector(inputs):
    with pytest.raises(Mismatch, match='VectorHead'):
        VectorHead(inputs)
