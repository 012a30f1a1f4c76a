"""Transforms per modality, and the modality passed to transforms that accept it."""

from __future__ import annotations

import pytest
import torch

from vireid.errors import UnknownComponent, UnknownName
from vireid.plugin_manager.manager import create_manager

GRAY = {'type': 'Grayscale', 'num_output_channels': 3}


def build(**config):
    components = create_manager().components
    return components.build(
        'transforms', {'type': 'PerModality', **config}, where='images.train.0', defaults={'size': (8, 4)}
    )


def test_each_modality_has_its_own():
    transform = build(visible=[GRAY, {'type': 'Resize'}])
    image = torch.randint(256, (3, 16, 8), dtype=torch.uint8)
    gray = transform(image, modality='visible')
    assert gray.shape == (3, 8, 4)
    assert torch.equal(gray[0], gray[2])
    assert transform(image, modality='infrared') is image


def test_without_a_modality_it_says_what_it_needs():
    with pytest.raises(UnknownName, match=r"None(.*\n)*.*transform\(image, modality='visible'\)"):
        build()(torch.zeros(3, 2, 2))


def test_what_is_wrong_inside_is_told_with_its_path():
    with pytest.raises(UnknownComponent, match="'Gray'") as caught:
        build(infrared=[{'type': 'Gray'}])
    assert caught.value.path == 'images.train.0.infrared.0'
