"""ResizeScaled leaves room for a random crop, for any input size."""

from __future__ import annotations

import pytest
import torch

from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.transforms.resize_scaled import ResizeScaled


@pytest.mark.parametrize(('size', 'wanted'), [((288, 144), (320, 160)), ((144, 72), (160, 80)), ((64, 32), (71, 36))])
def test_ten_ninths(size, wanted):
    assert ResizeScaled(size, 10 / 9)(torch.zeros(3, 40, 20)).shape == (3, *wanted)


def test_never_smaller_than_the_crop():
    config = {'type': 'ResizeScaled', 'scale': 0.9}
    with pytest.raises(WrongValue, match=r'scale is 0\.9'):
        create_manager().components.build('transforms', config, where='images.test.0', defaults={'size': (288, 144)})
