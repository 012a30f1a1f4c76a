"""What is computed in float64 is so on an Apple GPU too, which has none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vireid.core.types import INFRARED, VISIBLE, Context, FeatureSpec
from vireid.plugins.full_precision import in_float64
from vireid.plugins.models.retinex import multiscale_retinex
from vireid.plugins.necks.modality_centering import ModalityCentering
from vireid.plugins.necks.within_identity_whitening import WithinIdentityWhitening


class OnAppleGPU(Tensor):
    """A tensor that says it is on an Apple GPU, and refuses float64 as one there."""

    device = torch.device('mps')  # type: ignore[assignment]

    def cpu(self):
        return self.as_subclass(Tensor)

    def double(self):
        raise TypeError


def test_values_of_an_apple_gpu_are_computed_on_the_cpu():
    values = torch.tensor([1.0, 2.0])
    assert in_float64(values.as_subclass(OnAppleGPU)).dtype == torch.float64
    assert torch.equal(in_float64(values.as_subclass(OnAppleGPU)), in_float64(values))


@pytest.mark.parametrize('kind', [ModalityCentering, WithinIdentityWhitening])
def test_necks_are_fitted_to_vectors_on_an_apple_gpu(kind):
    torch.manual_seed(0)
    vector, identities = torch.randn(8, 4), torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    context = Context({VISIBLE: 4, INFRARED: 4}, identities)
    rest = {'modalities': {VISIBLE: 3, INFRARED: 3}} if kind is ModalityCentering else {}
    here, there = (kind([FeatureSpec(4)], **rest) for _ in range(2))
    here.fit(vector, context=context)
    there.fit(vector.as_subclass(OnAppleGPU), context=context)
    for name, buffer in here.named_buffers():
        assert torch.equal(buffer, there.get_buffer(name))


def test_retinex_reads_images_on_an_apple_gpu(monkeypatch):
    images = torch.rand(1, 3, 8, 8)
    moved = images.as_subclass(OnAppleGPU)
    # nothing can be moved to that device here
    monkeypatch.setattr(Tensor, 'to', lambda self, *_: self.float() if self.dtype == torch.float64 else self)
    assert torch.equal(multiscale_retinex(moved).as_subclass(Tensor), multiscale_retinex(images))
