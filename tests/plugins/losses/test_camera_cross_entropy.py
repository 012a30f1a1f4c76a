"""CameraCrossEntropy: camera numbers start at 1."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.camera_cross_entropy import CameraCrossEntropy

PERSONS = torch.tensor([0, 0, 1, 1])


def context(cameras: list[int] | None) -> Context:
    return Context({'visible': 2, 'infrared': 2}, PERSONS, None if cameras is None else torch.tensor(cameras))


def test_by_hand():
    # scores (log 3, 0): camera 1 has 3/4, camera 2 has 1/4
    scores = torch.tensor([[math.log(3), 0.0]] * 4)
    loss = CameraCrossEntropy()(HeadOutput(scores), PERSONS, context([1, 1, 2, 1]))
    assert loss.item() == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)


def test_equals_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    cameras = [1, 5, 3, 6]
    scores = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    loss = CameraCrossEntropy()(HeadOutput(scores), PERSONS, context(cameras))
    expected = torch.zeros((), dtype=torch.float64)
    for i, camera in enumerate(cameras):
        weights = [torch.exp(scores[i, c]) for c in range(6)]
        expected = expected - torch.log(weights[camera - 1] / sum(weights)) / 4
    assert torch.allclose(loss, expected, rtol=0, atol=1e-10)
    found, wanted = (torch.autograd.grad(value, scores)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize('camera', [0, 7])
def test_a_camera_without_a_score_is_named(camera):
    with pytest.raises(Mismatch, match=rf'camera {camera}\b.* 6 cameras') as caught:
        CameraCrossEntropy()(HeadOutput(torch.zeros(4, 6)), PERSONS, context([1, 2, camera, 3]))
    assert '1 to 6' in caught.value.allowed
    assert 'CameraHead' in caught.value.todo


def test_a_batch_that_does_not_tell_its_cameras_is_refused():
    with pytest.raises(Mismatch, match='CameraCrossEntropy'):
        CameraCrossEntropy()(HeadOutput(torch.zeros(4, 6)), PERSONS, context(None))
