"""Softmax-weighted distances to positives and negatives, as used by AGW's and CAJ's triplet losses."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.core.types import HeadOutput
from vireid.plugins.losses.unit_distances import distances, one_vector


def weighted_distances(loss: str, output: HeadOutput, identities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each image's weighted mean distance to its positives and to its negatives, where hard ones weigh most.

    With Euclidean distances d, these are p_i = sum_j w_ij d_ij over the images j of its identity, and n_i = sum_k v_ik
    d_ik over the images k of others, where w_i = softmax_j(d_ij) and v_i = softmax_k(-d_ik). The weights of an image
    sum to 1 at any distance. An image counts among its own positives, at distance 0. Gradients also flow through the
    weights.

    Args:
        loss: name of the loss, for the message.
        output: output of a head with a (B, C) feature; it is promoted to at least float32.
        identities: (B,) int64 labels.

    Returns:
        (B,) distances p, (B,) distances n, and (B,) bool, True where an image has no negatives and its n is meaningless
        but finite.

    Raises:
        Mismatch: if the output has parts.
    """
    feature = one_vector(loss, output)
    distance = distances(feature, feature)  # (B, B)
    distance = distance.masked_fill(torch.eye(len(feature), dtype=torch.bool, device=feature.device), 0)
    same = identities[:, None] == identities[None, :]
    far = distance.masked_fill(~same, float('-inf')).softmax(dim=1)  # (B, B): w, 0 for other identities
    # a finite fill value: in a row without negatives, a softmax of only -inf would be NaN
    near = (-distance).masked_fill(same, torch.finfo(distance.dtype).min).softmax(dim=1)  # (B, B): v
    return (far * distance).sum(dim=1), (near * distance).sum(dim=1), same.all(dim=1)
