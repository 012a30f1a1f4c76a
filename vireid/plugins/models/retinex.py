"""Retinex: evens out the illumination of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vireid.plugins.full_precision import in_float64

LEVELS = 255.0


def multiscale_retinex(images: Tensor, sigmas: Sequence[float] = (5.0, 20.0)) -> Tensor:
    """Divides each channel by its surroundings, at several scales (Jobson et al., IEEE TIP 6(7), 1997).

    R = mean over sigma of log(1 + I) - log(1 + G_sigma * I), for I in 0..255 and a Gaussian window G_sigma, normalized
    over the pixels of the image. The smallest R of an image, over its pixels and channels, becomes 0 and the largest 1.
    An image whose R is constant, such as one of a single color, is returned as it is.

    Args:
        images: (B, C, H, W) floats in 0..1.
        sigmas: standard deviations of the windows in pixels, above 0.

    Returns:
        (B, C, H, W) floats in 0..1.
    """
    levels = in_float64(images) * LEVELS
    ratio = torch.zeros_like(levels)
    for sigma in sigmas:
        across, along = (_window(n, sigma, levels.device) for n in levels.shape[2:])
        ratio += (levels.log1p() - (across @ levels @ along.T).log1p()) / len(sigmas)
    low, high = ratio.amin(dim=(1, 2, 3), keepdim=True), ratio.amax(dim=(1, 2, 3), keepdim=True)
    constant = high - low < 1e-9  # rounding alone
    stretched = (ratio - low) / (high - low).clamp(min=1e-9)
    return torch.where(constant.to(images.device), images, stretched.to(images))


def _window(size: int, sigma: float, device: torch.device) -> Tensor:
    """Returns the (size, size) weights of each pixel's surroundings along one axis; each row sums to 1."""
    at = torch.arange(size, dtype=torch.float64, device=device)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=1, keepdim=True)
