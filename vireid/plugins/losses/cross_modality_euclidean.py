"""The cross-modality Euclidean constraint of MSR."""

from __future__ import annotations

from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.unit_distances import one_vector


class CrossModalityEuclidean(nn.Module):
    """Pulls the visible and infrared features of an identity together (Feng et al., TIP 2019).

    See doi 10.1109/TIP.2019.2928126.

    The loss is the mean of |f_i - f_j|^2 over all pairs of a visible image i and an infrared image j of one identity.
    The paper's abstract names the constraint; taking the mean of squared distances over all pairs is our reading. An
    identity that lacks a modality has no pairs. A batch without pairs gives 0.

    Args:
        normalize: True L2-normalizes the features, so that a squared distance is at most 4 and shrinking the features
            does not reduce it; False compares the features themselves.

    Raises:
        Mismatch: when called, if the feature has parts.
    """

    reads_parts = False

    def __init__(self, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = one_vector('CrossModalityEuclidean', output)
        if self.normalize:
            feature = nn.functional.normalize(feature, dim=1)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        a, b = feature[visible], feature[infrared]  # (V, C), (I, C)
        # under autocast the product would be in half precision, where distances of nearly equal vectors cancel
        with full_precision(feature):
            squared = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)[None, :] - 2 * a @ b.T  # (V, I)
        same = (identities[visible][:, None] == identities[infrared][None, :]).to(squared.dtype)
        return (same * squared).sum() / same.sum().clamp_min(1)  # ()
