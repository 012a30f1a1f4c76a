"""The contrastive correlation of image pairs: our reading of the CCN of DSCSN."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.plugins.full_precision import full_precision


def contrast(tensors: Tensor, kernels: Tensor, others: Tensor, other_kernels: Tensor) -> Tensor:
    """Compares each image A of one set with each image B of another, using the difference of their kernels.

    The contrastive kernels of a pair are D = K_A - K_B. Correlating them with each image gives its contrastive features
    D T_A and D T_B, one number per kernel and cell. Both depend on both images. The similarity

        T_A . T_B - |D T_A - D T_B|^2 / 2

    is the cosine similarity of the unit-length tensors, minus a penalty for differing contrastive features. It
    decreases with the Euclidean distance between the concatenations of tensor and contrastive features, and is 1 for
    equal images.

    Correlation is linear, so D (T_A - T_B) = K_A T_A + K_B T_B - K_B T_A - K_A T_B. The mixed terms of all pairs take
    two matrix products, without computing the kernels of each pair.

    Args:
        tensors: (A, C, N), C channels in N cells, each of unit length.
        kernels: (A, S, C), S kernels of one cell.
        others: (B, C, N), like `tensors`.
        other_kernels: (B, S, C), like `kernels`.

    Returns:
        (A, B) similarities of at most 1, float32 or float64.
    """
    dtype = torch.promote_types(tensors.dtype, torch.float32)
    tensors, kernels, others, other_kernels = (x.to(dtype) for x in (tensors, kernels, others, other_kernels))
    (count, channels, cells), (other_count, number, _) = tensors.shape, other_kernels.shape
    with full_precision(tensors):  # in half precision, the differences of products cancel
        cosine = tensors.flatten(1) @ others.flatten(1).T  # (A, B)
        rows = tensors.permute(0, 2, 1).reshape(count * cells, channels)
        first = (rows @ other_kernels.reshape(-1, channels).T).view(count, cells, other_count, number)  # K_B T_A
        columns = others.permute(1, 0, 2).reshape(channels, other_count * cells)
        second = (kernels.reshape(-1, channels) @ columns).view(count, number, other_count, cells)  # K_A T_B
        own = (kernels @ tensors)[:, :, None]  # (A, S, 1, N): K_A T_A
        other_own = (other_kernels @ others).permute(1, 0, 2)  # (S, B, N): K_B T_B
        gap = own - first.permute(0, 3, 2, 1) - second + other_own  # (A, S, B, N)
        return cosine - gap.square().sum(dim=(1, 3)) / 2  # (A, B)
