"""The transforms work in place and are bit-identical to those of torchvision."""

from __future__ import annotations

import re

import pytest
import torch
from torchvision.transforms import v2

from vireid.errors import Mismatch, WrongValue
from vireid.plugins.transforms.in_place import Normalize, RandomErasing
from vireid.plugins.transforms.to_float import ToFloat
from vireid.runtime.randomness import seeded

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def image(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 48, 24, generator=torch.Generator().manual_seed(seed))


def test_normalize_is_torchvisions_in_place():
    given = image()
    expected = v2.Normalize(MEAN, STD)(image())
    found = Normalize(MEAN, STD)(given)
    assert torch.equal(found, expected)
    assert found is given


@pytest.mark.parametrize('seed', range(20))
def test_random_erasing_is_torchvisions_in_place(seed):
    given = image(seed)
    with seeded(seed):
        expected = v2.RandomErasing(p=0.5, scale=(0.02, 0.4))(image(seed))
    with seeded(seed):
        found = RandomErasing(p=0.5, scale=(0.02, 0.4))(given)
    assert torch.equal(found, expected)
    assert found.data_ptr() == given.data_ptr()


def test_random_erasing_fills_each_channel_with_its_own_value():
    fill = (0.25, 0.5, 2.0)
    with seeded(0):
        found = RandomErasing(p=1.0, scale=(0.2, 0.4), value=fill)(image())
    erased = (found != image()).all(dim=0)
    assert 0.1 < erased.double().mean() < 0.5
    assert found[:, erased].unique(dim=1).flatten().tolist() == list(fill)
    with pytest.raises(WrongValue, match=r'\(0\.1, 0\.2\)'):
        RandomErasing(value=(0.1, 0.2))


def test_what_comes_before_them_is_not_changed():
    decoded = torch.randint(256, (3, 48, 24), dtype=torch.uint8)
    as_floats = decoded / 255
    for given in (decoded, as_floats):
        before = given.clone()
        Normalize(MEAN, STD)(ToFloat()(given))
        assert torch.equal(given, before)


def test_whole_numbers_and_wrong_settings_are_refused():
    with pytest.raises(Mismatch, match=r"uint8\n.*dict\(type='ToFloat'\)"):
        Normalize(MEAN, STD)(torch.zeros(3, 4, 4, dtype=torch.uint8))
    for mean, std in ((MEAN, (1, 1, 0)), ((0.5,), (0.5,)), (MEAN, (1, -1, 1))):
        with pytest.raises(WrongValue, match=re.escape(f'std is {std}')):
            Normalize(mean, std)
