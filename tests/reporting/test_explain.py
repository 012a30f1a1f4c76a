"""Grad-CAM is its definition: weights are mean gradients, the map is the ReLU of the weighted sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vireid.core.data.images import Decoder
from vireid.core.types import INFRARED, VISIBLE, FeatureSpec, Sample
from vireid.reporting.explain import ImagePair, explain, grad_cam, look, scaled


class Backbone(nn.Module):
    """Its one map is the image itself; `paired` as DMCF's streams are."""

    def __init__(self, paired: bool = False) -> None:
        super().__init__()
        self.paired = paired
        self.outputs = {'deep': FeatureSpec(3, 'map'), 'vector': FeatureSpec(3)}

    def forward(self, images):
        made = {m: x * 1.0 for m, x in images.items()}
        deep = made if self.paired else torch.cat(list(made.values()))
        return {'deep': deep, 'vector': torch.cat(list(made.values())).mean((2, 3))}


class Model(nn.Module):
    """Its embedding is the mean of each channel over positions; nothing in it can be trained."""

    def __init__(self, paired: bool = False) -> None:
        super().__init__()
        self.backbone = Backbone(paired)

    def embed(self, images, modality):
        deep = self.backbone({modality: images})['deep']
        return (deep[modality] if isinstance(deep, dict) else deep).mean((2, 3))


def test_by_hand():
    """Weights 1 and -2: [[1, 0], [0, 3]] - 2 [[0, 1], [0, 1]] = [[1, -2], [0, 1]], and the negative one is cut."""
    features = torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [0.0, 1.0]]])
    gradient = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[-2.0, -2.0], [-2.0, -2.0]]])  # means 1 and -2
    assert grad_cam(features, gradient).tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize('paired', [False, True], ids=['joint', 'paired'])
def test_of_a_similarity_that_is_known_by_hand(paired):
    """a = mean of A over N positions, s = a b / |a| |b|. So ds / dA_c = (b_c / |b| - s a_c / |a|) / (|a| N)."""
    torch.manual_seed(0)
    a, b = torch.rand(3, 4, 2), torch.rand(3, 4, 2)
    found = look(Model(paired), [(a, VISIBLE), (b, INFRARED)], ['deep'], 'cpu')
    mean, other = a.mean((1, 2)), b.mean((1, 2))
    unit, length = other / other.norm(), mean.norm()
    weights = (unit - (unit @ mean / length) * mean / length) / length / 8
    expected = torch.relu((weights[:, None, None] * a).sum(0))
    np.testing.assert_allclose(found['cam deep'][0], expected / expected.max(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found['features deep'][1], b.mean(0) / b.mean(0).max(), rtol=1e-6)
    assert len(found['cam deep']) == 2  # each image has its own


def test_no_gradient_is_left_behind_and_a_map_of_zeros_stays():
    model = nn.ModuleDict({'backbone': Backbone()})
    model.layer = nn.Conv2d(3, 3, 1)
    model.embed = lambda images, modality: model.layer(model.backbone({modality: images})['deep']).mean((2, 3))
    look(model, [(torch.rand(3, 2, 2), VISIBLE), (torch.rand(3, 2, 2), INFRARED)], ['deep'], 'cpu')
    assert model.layer.weight.grad is None
    assert scaled(torch.zeros(2, 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def pairs(tmp_path) -> list[ImagePair]:
    samples = []
    for name, modality in (('a', VISIBLE), ('b', INFRARED)):
        Image.new('RGB', (2, 4), (200, 100, 50)).save(tmp_path / f'{name}.png')
        samples.append(Sample(str(tmp_path / f'{name}.png'), 1, 1, modality))
    return [ImagePair(*samples, 0.5, True)]


def test_the_stages_that_are_maps_are_explained_for_each_pair(tmp_path):
    notes: list[str] = []
    found = explain(Model(), pairs(tmp_path), lambda image: image / 255, 'cpu', notes, Decoder())
    assert {key: value.shape for key, value in found.items()} == {
        'cam deep': (1, 2, 4, 2),
        'features deep': (1, 2, 4, 2),
    }
    assert not notes


def test_what_cannot_be_explained_is_said(tmp_path):
    notes: list[str] = []
    assert explain(nn.Identity(), pairs(tmp_path), None, 'cpu', notes, Decoder()) == {}
    assert explain(Model(), [ImagePair(Sample('no.png', 1, 1, VISIBLE), Sample('no', 1, 1, VISIBLE), 0, True)],
                   lambda image: image / 255, 'cpu', notes, Decoder()) == {}  # fmt: skip
    assert notes == [
        'no maps of where the model looks: Identity has no backbone with stages',
        'no maps of where the model looks: image no.png does not exist',
    ]


def test_a_model_whose_embedding_has_no_gradient_is_said(tmp_path):
    model = Model()
    model.embed = torch.no_grad()(model.embed)
    notes: list[str] = []
    assert explain(model, pairs(tmp_path), lambda image: image / 255, 'cpu', notes, Decoder()) == {}
    assert 'RuntimeError' in notes[0]
    model.embed = lambda images, modality: images.mean((2, 3))
    assert explain(model, pairs(tmp_path), lambda image: image / 255, 'cpu', notes, Decoder()) == {}
    assert 'the embedding of Model does not come from its backbone' in notes[1]


def test_a_model_that_swaps_needs_no_backbone_and_shows_each_image_once(tmp_path):
    class Swaps(nn.Module):
        def swap_grid(self, batch, rows, columns):
            return batch.images[rows][:, None] * batch.images[columns][None]

    notes: list[str] = []
    twice = pairs(tmp_path) * 2
    found = explain(Swaps(), twice, lambda image: image / 255, 'cpu', notes, Decoder())
    assert list(found) == ['swaps']
    assert found['swaps'].shape[:2] == (2, 2)  # one image of each modality, beside white
    assert 'has no backbone' in notes[0]
