"""MultiScaleCritic: its losses against literal loops, its penalty by hand, its parameters by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vireid.errors import Mismatch
from vireid.plugins.models.multi_scale_critic import MultiScaleCritic, real_loss, squared_error


class Linear(nn.Module):
    """Scores images by a weighted sum of their pixels, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64))

    def forward(self, images: Tensor) -> list[Tensor]:
        score = (images * self.weight).sum(dim=(1, 2, 3))[:, None, None, None]
        return [score, 2 * score]


def test_penalty_by_hand():
    # the gradients are the weights, of squared norm 25, and twice the weights, of 100
    critic, images = Linear(), torch.zeros(5, 1, 2, 2, dtype=torch.float64)
    assert real_loss(critic, images, 0.01).item() == pytest.approx(2 + 0.01 * (25 + 100))
    assert real_loss(critic, images, 0).item() == 2
    (gradient,) = torch.autograd.grad(real_loss(critic, images, 0.01), critic.weight)
    # of 0.01 (1 + 4) |w|^2; the scores of black images do not depend on the weights
    assert torch.allclose(gradient, 0.1 * critic.weight)


def test_losses_are_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    critic = MultiScaleCritic(3, 2, 2).double()
    for parameter in critic.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    images = torch.randn(3, 3, 12, 10, dtype=torch.float64)
    error, penalty = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for image in images:
        own = image[None].clone().requires_grad_()
        for score in critic(own):
            error = error + sum((v - 1) ** 2 for v in score.flatten()) / score.numel() / 3
            (gradient,) = torch.autograd.grad(score.sum(), own, create_graph=True)
            penalty = penalty + sum(v**2 for v in gradient.flatten()) / 3
    loss = real_loss(critic, images, 0.01)
    assert squared_error(critic(images), 1.0).item() == pytest.approx(error.item(), abs=1e-10)
    assert loss.item() == pytest.approx((error + 0.01 * penalty).item(), abs=1e-10)
    parameters = list(critic.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    wanted = torch.autograd.grad(error + 0.01 * penalty, parameters, allow_unused=True)
    for own, other in zip(found, wanted, strict=True):
        assert torch.allclose(own, other, rtol=0, atol=1e-10)


def test_the_penalty_of_half_precision_images_is_computed_in_full_precision():
    """In mixed precision, Fabric passes bf16 images to the model; the weights stay float32."""
    torch.manual_seed(0)
    critic = MultiScaleCritic(3, 2, 2)
    images = torch.randn(3, 3, 12, 10).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        loss = real_loss(critic, images, 0.01)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, real_loss(critic, images.float(), 0.01))


def test_scores_and_parameters_of_the_paper_size():
    with torch.device('meta'):
        critic = MultiScaleCritic()
        shapes = [tuple(score.shape) for score in critic(torch.zeros(2, 3, 256, 128))]
    assert shapes == [(2, 1, 64, 32), (2, 1, 32, 16), (2, 1, 16, 8)]

    def convolution(inputs, outputs, kernel):
        return inputs * outputs * kernel**2 + outputs

    narrow = convolution(3, 32, 1) + 3 * convolution(32, 32, 3) + convolution(32, 64, 3)
    one = narrow + 8 * convolution(64, 64, 3) + convolution(64, 1, 1)
    assert sum(p.numel() for p in critic.parameters()) == 3 * one == 3 * 341_857


def test_the_border_of_a_halved_image_is_averaged_over_its_own_pixels():
    critic = MultiScaleCritic(1, 1, 2)
    halved = critic.halve(torch.arange(16.0).view(1, 1, 4, 4))
    assert halved[0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4


def test_the_smallest_image():
    critic = MultiScaleCritic(3, 1, 3)
    assert [score.shape[2] for score in critic(torch.zeros(1, 3, 17, 17))] == [5, 3, 2]
    with pytest.raises(Mismatch, match=r'40 x 16\n.* 17 x 17'):
        critic(torch.zeros(1, 3, 40, 16))
