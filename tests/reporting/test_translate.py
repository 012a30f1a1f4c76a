"""What translators generate, as pictures: maps from -1 to 1, added modalities in the range of the transform."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from vireid.core.types import INFRARED, VISIBLE, Batch, FeatureSpec
from vireid.plugins.translators.light_generator import LightGenerator
from vireid.reporting.figures.translations import generated
from vireid.reporting.translate import SIZE, translations

LIMITS = torch.full((3, 4, 2), -2.0), torch.full((3, 4, 2), 6.0)  # black and white
SIDES = [(torch.zeros(3, 4, 2), VISIBLE), (torch.zeros(3, 4, 2), INFRARED)]


class Constant(nn.Module):
    """Translates visible images to a constant, and has a code that is no image."""

    def __init__(self) -> None:
        super().__init__()
        self.modalities = {VISIBLE: 3, INFRARED: 3}
        self.maps = {'fake': FeatureSpec(3, 'map', 'paired'), 'code': FeatureSpec(8, 'map', 'paired')}

    def forward(self, batch: Batch, needed: set[str]) -> Batch:
        assert needed == {'fake', 'code'}
        maps = {'code': {m: torch.zeros(1, 8, 2, 2) for m in batch.images}}
        maps['fake'] = {m: torch.full((1, 3, 2, 2), 0.5) for m in batch.images if m == VISIBLE}
        return replace(batch, maps=maps)


def show(*translators: nn.Module) -> dict[str, list[np.ndarray]]:
    model = nn.Module()
    model.translators = nn.ModuleDict({str(i): own for i, own in enumerate(translators)})
    return translations(model, SIDES, LIMITS, 'cpu')


def test_a_map_is_shown_for_the_images_that_have_it():
    found = show(Constant())
    assert set(found) == {'translations fake'}
    visible, infrared = found['translations fake']
    assert visible.shape == infrared.shape == (*SIZE, 3)
    assert np.allclose(visible, 0.75)  # halfway from gray to white
    assert np.allclose(infrared, 0.5)  # there is none


def test_an_added_modality_is_shown_as_the_transform_shows_images():
    generator = LightGenerator({VISIBLE: 3})
    nn.init.constant_(generator.expand.bias, 2.0)
    with torch.no_grad():
        generator.expand.weight.zero_()
    (visible,) = translations(
        SimpleNamespace(eval=lambda: None, translators={'x': generator}), SIDES[:1], LIMITS, 'cpu'
    )['translations x']
    assert np.allclose(visible, (2 + 2) / (6 + 2))


def test_a_model_without_translators_shows_nothing():
    assert translations(nn.Identity(), SIDES, LIMITS, 'cpu') == {}


def test_a_picture_is_painted_as_it_is():
    assert generated(np.zeros((2, 2, 3)), np.full((1, 1, 3), 0.5)).tolist() == [[[128] * 3]]
