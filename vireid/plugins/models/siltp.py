"""SILTP: scale-invariant local ternary patterns (Liao et al., CVPR 2010)."""

from __future__ import annotations

import torch
from torch import Tensor

PATTERNS = 81  # 3^4
# (down, right) of the neighbors and the weight of their digit
NEIGHBORS = (((0, 1), 1), ((-1, 0), 3), ((0, -1), 9), ((1, 0), 27))


def local_ternary_patterns(gray: Tensor, radius: int) -> Tensor:
    """Codes each pixel by whether its four neighbors are darker, similar or brighter.

    The digit of a neighbor n of a pixel I is 1 if n < 0.7 I, 2 if n > 1.3 I, and 0 otherwise (tau = 0.3). The digits of
    the neighbors to the right, above, to the left and below have the weights 1, 3, 9 and 27. Beyond the border, the
    image continues with its nearest pixel. Scaling the image changes nothing, and integers are compared exactly.

    Args:
        gray: (B, H, W) integers of any dtype, 0 to 2^20.
        radius: distance of the neighbors in pixels.

    Returns:
        (B, H, W) codes, 0 to 80, of the same dtype.
    """
    height, width = gray.shape[1:]
    rows, columns = (torch.arange(-radius, n + radius, device=gray.device).clamp(0, n - 1) for n in (height, width))
    padded = 10 * gray.index_select(1, rows).index_select(2, columns)
    low, high = 7 * gray, 13 * gray
    codes = torch.zeros_like(gray)
    for (down, right), weight in NEIGHBORS:
        y, x = radius * (1 + down), radius * (1 + right)
        neighbor = padded[:, y : y + height, x : x + width]
        codes.add_(neighbor < low, alpha=weight).add_(neighbor > high, alpha=2 * weight)
    return codes
