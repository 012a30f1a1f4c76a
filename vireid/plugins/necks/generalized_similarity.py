"""GeneralizedSimilarity: for each modality, what the generalized similarity measure of GSM reads of a feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import MODALITIES, Context, FeatureSpec, Modality
from vireid.errors import Mismatch
from vireid.plugins.full_precision import full_precision
from vireid.plugins.necks.matching import one_input


class GeneralizedSimilarity(nn.Module):
    """The last layers of GSM (Lin et al., PAMI 2017, arXiv 1605.04039): one linear layer per modality.

    With the features a of a visible and b of an infrared image, r values each, the measure is

        S(a, b) = |L_A a|^2 + |L_B b|^2 - 2 (L_Cx a).(L_Cy b) + 2 d.a + 2 e.b + f.

    It is a dissimilarity: small for images of one identity. A visible image contributes the 2r + 1 values
    (L_A a, L_Cx a, d.a), an infrared one (L_B b, L_Cy b, e.b). `generalized_similarity` computes S from two such rows.
    A quarter of f is added to d.a and to e.b, so that the rows carry it. The last of the 2r + 2 output values is 1, so
    that a row can be restored after the evaluator has normalized it.

    The features are normalized over the batch first, by a BatchNorm without scale and shift, and divided by sqrt(r), so
    that two unrelated ones have a mean squared distance of 2. All L are initialized to the identity, d and e to 0, and
    f to -2: S is that distance, shifted to around 0. The normalization and the initial values are ours.

    Args:
        inputs: one vector of length r.
        modalities: image channels by modality.

    Raises:
        Mismatch: if the input is not one vector, or there are modalities other than visible and infrared.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], modalities: Mapping[Modality, int]) -> None:
        super().__init__()
        spec = one_input('GeneralizedSimilarity', inputs, 'vector', 'pool it first, e.g. with StageEmbedding')
        if others := sorted(set(modalities) - set(MODALITIES)):
            raise Mismatch(
                f'GeneralizedSimilarity has no layer for the modality {", ".join(others)}',
                allowed=' and '.join(MODALITIES),
                todo='remove the view or the translator that adds it',
            )
        self.channels = r = spec.channels
        self.output = FeatureSpec(2 * r + 2)
        self.norm: nn.Module = nn.BatchNorm1d(r, affine=False)
        layers = {m: nn.Linear(r, 2 * r + 1, bias=False) for m in MODALITIES}
        self.constant = nn.Parameter(torch.tensor(-2.0))  # f
        with torch.no_grad():
            for layer in layers.values():
                layer.weight.copy_(torch.cat([torch.eye(r), torch.eye(r), torch.zeros(1, r)]))
        self.layers = nn.ModuleDict(layers)

    def forward(self, vector: Tensor, context: Context) -> Tensor:
        with full_precision(vector):  # squares of half-precision values would lose what differs between images
            features = self.norm(vector.to(torch.promote_types(vector.dtype, torch.float32)))
            features = features / self.channels**0.5  # (B, r)
            values = torch.cat([self.layers[m](features[context.rows(m)]) for m in context.counts])
            constant = (self.constant / 4).expand(len(values), 1)
            parts = [values[:, :-1], values[:, -1:] + constant, torch.ones_like(constant)]
            return torch.cat(parts, dim=1)  # (B, 2r + 2)


def generalized_similarity(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns S, small for similar images, of all pairs of images of two modalities.

    S follows the modalities, not the order: exchanging the arguments transposes the result.

    Args:
        rows: (N, 2r + 2) outputs of `GeneralizedSimilarity` for images of one modality, each up to a factor.
        columns: (M, 2r + 2), the same for images of the other modality.

    Returns:
        (N, M).
    """
    r = rows.shape[1] // 2 - 1
    with full_precision(rows):
        (own, across, linear), (other, against, shift) = (
            (values / values[:, -1:]).split([r, r, 2], dim=1) for values in (rows, columns)
        )
        of_rows = own.square().sum(dim=1) + 2 * linear[:, 0]  # (N,)
        of_columns = other.square().sum(dim=1) + 2 * shift[:, 0]  # (M,)
        return of_rows[:, None] + of_columns[None, :] - 2 * across @ against.T
