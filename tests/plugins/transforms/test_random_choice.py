"""RandomChoice applies one of its transforms."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Progress
from vireid.errors import UnknownComponent, WrongValue
from vireid.plugin_manager.manager import create_manager

GRAY = {'type': 'Grayscale', 'num_output_channels': 3}


def build(*transforms):
    components = create_manager().components
    config = {'type': 'RandomChoice', 'transforms': list(transforms)}
    return components.build('transforms', config, where='images.train.0', defaults={'size': (8, 4)})


def test_each_is_drawn_equally_often():
    transform = build(GRAY, {'type': 'RandomHorizontalFlip', 'p': 1.0}, {'type': 'Resize'})
    image = torch.randint(256, (3, 16, 8), dtype=torch.uint8)
    gray, flipped, resized = (part(image) for part in transform.transforms)
    assert resized.shape == (3, 8, 4)
    torch.manual_seed(0)
    drawn = [transform(image) for _ in range(600)]
    for expected in (gray, flipped, resized):
        # a binomial of 600 and 1/3 has a standard deviation of 12
        assert sum(torch.equal(found, expected) for found in drawn) == pytest.approx(200, abs=50)


def test_its_transforms_learn_the_modality_and_the_position_in_the_run():
    transform = build({'type': 'PerModality', 'visible': [GRAY]})
    image = torch.randint(256, (3, 8, 4), dtype=torch.uint8)
    assert transform(image, modality='infrared', progress=Progress(0, 0, 1, 1)) is image
    assert torch.equal(*transform(image, modality='visible')[:2])


def test_what_is_wrong_inside_is_told_with_its_path():
    with pytest.raises(UnknownComponent, match="'Gray'") as caught:
        build(GRAY, {'type': 'Gray'})
    assert caught.value.path == 'images.train.0.transforms.1'
    with pytest.raises(WrongValue, match='RandomChoice'):
        build()
