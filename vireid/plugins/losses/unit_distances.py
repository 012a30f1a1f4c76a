"""Vectors and their Euclidean distances, as used by ranking losses."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.core.types import HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.full_precision import full_precision


def one_vector(loss: str, output: HeadOutput) -> Tensor:
    """Returns a head's (B, C) feature in float32, or float64 if it is float64.

    Args:
        loss: name of the loss, for the message.
        output: output of the head.

    Raises:
        Mismatch: if the output has parts.
    """
    feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
    if feature.ndim != 2:
        raise Mismatch(
            f'{loss} reads one vector per image and got parts', todo='set reads to an output with one vector'
        )
    return feature


def unit_feature(loss: str, output: HeadOutput) -> Tensor:
    """Returns the feature of `one_vector` with L2-normalized rows."""
    return torch.nn.functional.normalize(one_vector(loss, output), dim=1)


def squared_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the (N, M) squared Euclidean distances of (N, C) and (M, C) vectors, at least 0."""
    # under autocast the product would be in half precision, where distances of nearly equal vectors cancel
    with full_precision(rows):
        squared = rows.square().sum(dim=1)[:, None] + columns.square().sum(dim=1)[None, :] - 2 * rows @ columns.T
    return squared.clamp_min(0)


def distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the (N, M) Euclidean distances of (N, C) and (M, C) vectors; the gradient of equal vectors is 0."""
    return squared_distances(rows, columns).clamp_min(1e-12).sqrt()  # sqrt has no gradient at 0
