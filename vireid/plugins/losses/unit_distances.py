"""Distances between vectors of length 1: what the ranking losses of the field compare."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.core.errors import VireidError
from vireid.core.types import HeadOutput
from vireid.plugins.full_precision import full_precision


def unit_feature(loss: str, output: HeadOutput) -> Tensor:
    """Returns a head's (B, C) feature with rows of length 1; half precision becomes float32, float64 stays.

    Args:
        loss: name of the loss, for the message.
        output: what the head made.

    Raises:
        VireidError: if the head made parts.
    """
    feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
    if feature.ndim != 2:
        raise VireidError(
            f'{loss} reads one vector per image and was given parts', todo='set reads to an output of one vector'
        )
    return torch.nn.functional.normalize(feature, dim=1)


def squared_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the (N, M) squared Euclidean distances of (N, C) and (M, C) vectors, at least 0."""
    # autocast would take the product to half precision, where distances of nearly equal vectors cancel
    with full_precision(rows):
        squared = rows.square().sum(dim=1)[:, None] + columns.square().sum(dim=1)[None, :] - 2 * rows @ columns.T
    return squared.clamp_min(0)


def distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the (N, M) Euclidean distances of (N, C) and (M, C) vectors; equal ones have the gradient 0."""
    return squared_distances(rows, columns).clamp_min(1e-12).sqrt()  # sqrt has no gradient at 0
